// The mutations of what computes in bf16 and int8 on the CPU and of what quantizes: each must make a test fail.

import type { Change } from './apply.ts'

export interface CpuMutation extends Change {
  /** Files or folders of tests, one of which should fail. */
  readonly tests: readonly string[]
}

const opCases = ['test/runtime/bf16-rounding.test.ts', 'test/runtime/reduced-op-cases.test.ts']
const winograd = ['test/runtime/integer-winograd.test.ts']
const extremes = ['test/runtime/extreme-numbers.test.ts']
const refusals = ['test/runtime/refused-precisions.test.ts']
const precisions = ['test/runtime/cpu-precision.test.ts']
const amx = ['test/runtime/amx-refused.test.ts']
const plans = ['test/model/reduce.test.ts']
const quantizing = ['test/quantize']

export const cpuMutations: readonly CpuMutation[] = [
  {
    title: 'sums rounded up from a quarter on',
    file: 'native/cpu/dot_finish_plain.h',
    find: 'const float shifted = value + kMagic;',
    replace: 'const float shifted = value + 0.25f + kMagic;',
    tests: opCases,
  },
  {
    title: 'a clamp one too low',
    file: 'native/cpu/dot_numbers.cc',
    find: '? 255 : kMost;',
    replace: '? 254 : kMost;',
    tests: opCases,
  },
  {
    title: 'int8 clamped to -128',
    file: 'native/cpu/dot_finish_avx512.h',
    find: 'ab = _mm512_max_epi16(ab, least);',
    replace: '',
    tests: opCases,
  },
  {
    title: 'a residual of s8 read as u8',
    file: 'native/cpu/dot_finish_avx512.h',
    find: 'kResidual == DotType::kInt8 ? _mm512_cvtepi8_epi32(packed)',
    replace: 'kResidual == DotType::kUint8 ? _mm512_cvtepi8_epi32(packed)',
    tests: opCases,
  },
  {
    title: 'one column too many of a panel that is not full',
    file: 'native/cpu/dot_finish_avx512.h',
    find: '(1u << (columns > 0 ? columns : 0)) - 1',
    replace: '(2u << (columns > 0 ? columns : 0)) - 1',
    tests: opCases,
  },
  {
    title: 'runs that count the padding between lines',
    file: 'native/cpu/dot_rows.cc',
    find: 'to.runs[runs++] = {row, inside, size_t(y) * g_.dst.width + x};',
    replace: 'to.runs[runs++] = {row, inside, size_t(y) * pitch_ + x};',
    tests: opCases,
  },
  {
    title: 'padding of zeros around the bytes of an image',
    file: 'native/cpu/dot_numbers.cc',
    find: 'if (numbers.bytes.mean)',
    replace: 'if (false)',
    tests: opCases,
  },
  {
    title: 'the correction for signed sources left out',
    file: 'native/cpu/dot_vnni.cc',
    find: 'static constexpr bool kFlips = true;',
    replace: 'static constexpr bool kFlips = false;',
    tests: opCases,
  },
  {
    title: 'the lower tile of rows taken a row too high',
    file: 'native/cpu/dot_amx_impl.h',
    find: 'upper + kTileRows * task.row_stride',
    replace: 'upper + (kTileRows - 1) * task.row_stride',
    tests: opCases,
  },
  {
    title: 'blocks of 17 to 32 rows summed as one tile',
    file: 'native/cpu/dot_amx_impl.h',
    find: 'block.rows > kTileRows,',
    replace: 'block.rows > kTileRows + 1,',
    tests: opCases,
  },
  {
    title: 'the scales of the first channels for all splits',
    file: 'native/cpu/dot_conv.cc',
    find: 'task.scale = scale_.data() + column;',
    replace: 'task.scale = scale_.data();',
    tests: opCases,
  },
  {
    title: 'the mean of the image with the wrong sign',
    file: 'native/cpu/int8_weights.cc',
    find: 'bias / step - zeros(k)',
    replace: 'bias / step + zeros(k)',
    tests: opCases,
  },
  {
    title: 'bf16 rounded up where two are as near',
    file: 'native/cpu/bf16.h',
    find: 'bits + 0x7fff + (bits >> 16 & 1)',
    replace: 'bits + 0x8000',
    tests: opCases,
  },
  {
    title: 'the order of kernel rows swapped in pairs',
    file: 'native/cpu/dot_rows.cc',
    find: 'row % together_) * kFewChannels + channel',
    replace: '(together_ - 1 - row % together_)) * kFewChannels + channel',
    tests: opCases,
  },
  {
    title: 'the last pixels of a gathered row not cleared',
    file: 'native/cpu/dot_rows.cc',
    find: '    std::memset(to + own_bytes_, 0, pixel_bytes_ - own_bytes_);\n    if (++x',
    replace: '    if (++x',
    tests: opCases,
  },
  {
    title: 'uint8 without a ReLU accepted',
    file: 'native/cpu/precisions.cc',
    find: 'kUint8 && !op_.relu)',
    replace: 'kUint8 && !op_.relu && false)',
    tests: refusals,
  },
  {
    title: 'a max pool that changes the scale accepted',
    file: 'native/cpu/precisions.cc',
    find: ' || src.scale != dst.scale',
    replace: '',
    tests: refusals,
  },
  {
    title: 'a residual of other bits accepted',
    file: 'native/cpu/precisions.cc',
    find: '? !is_int8(residual.precision) :',
    replace: '? false :',
    tests: refusals,
  },
  {
    title: 'a mean whose parts are twice as long',
    file: 'native/cpu/reduced_ops.cc',
    find: 'std::min(begin + kPart, pixels)',
    replace: 'std::min(begin + kPart + 1, pixels)',
    tests: opCases,
  },
  {
    title: 'conversions cut off instead of rounded',
    file: 'native/cpu/reduced_ops.cc',
    find: 'std::nearbyint(steps > kLeast',
    replace: 'std::trunc(steps > kLeast',
    tests: opCases,
  },
  {
    title: 'floats that are no bytes taken for 0',
    file: 'native/cpu/reduced_ops.cc',
    find: 'if (!all) in_range = false;',
    replace: '',
    tests: precisions,
  },
  {
    title: 'scales that are too far apart accepted',
    file: 'native/cpu/int8_weights.cc',
    find: 'if (steps < kMostSteps) return;',
    replace: 'return;',
    tests: refusals,
  },
  {
    title: 'tiles used without permission',
    file: 'native/cpu/amx.cc',
    find: 'x86_features().amx && ask_permission()',
    replace: 'x86_features().amx && (ask_permission(), true)',
    tests: amx,
  },
  {
    title: 'feature maps returned as float32',
    file: 'lib/model/reduce.ts',
    find: "output === 'featureMaps' ? 'any' : 'fp32'",
    replace: "'fp32'",
    tests: plans,
  },
  {
    title: 'a conversion for each that reads it',
    file: 'lib/model/reduce.ts',
    find: 'if (known !== undefined) return known',
    replace: "if (known !== undefined && need === 'any') return known",
    tests: plans,
  },
  {
    title: 'weights never clipped',
    file: 'lib/quantize/round-weights.ts',
    find: 'if (its.error < best.error) best = its',
    replace: '',
    tests: quantizing,
  },
  {
    title: 'scales not raised for large biases',
    file: 'lib/quantize/round-weights.ts',
    find: 'Math.max(scale, least[k]!)',
    replace: 'scale',
    tests: quantizing,
  },
  {
    title: 'the means of the first group for all groups',
    file: 'lib/quantize/correct-bias.ts',
    find: 'Math.floor(k / outputs) * inputs',
    replace: '0',
    tests: quantizing,
  },
  {
    title: 'bias corrected the wrong way',
    file: 'lib/quantize/correct-bias.ts',
    find: 'bias[k]! - shift',
    replace: 'bias[k]! + shift',
    tests: quantizing,
  },
  {
    title: 'inputs divided by their factors',
    file: 'lib/quantize/equalise.ts',
    find: '(folded.weight[i]! * factor) / divisor',
    replace: 'folded.weight[i]! / factor / divisor',
    tests: quantizing,
  },
  {
    title: 'uint8 with the steps of int8',
    file: 'lib/quantize/quantized-values.ts',
    find: 'uint8: 255',
    replace: 'uint8: 127',
    tests: quantizing,
  },
  {
    title: 'the operation that hurts least kept first',
    file: 'lib/quantize/keep-ops.ts',
    find: 'b.saves - a.saves)',
    replace: 'a.saves - b.saves)',
    tests: quantizing,
  },
  {
    title: "Winograd's sums in int8 shifted by a bit too few",
    file: 'native/cpu/dot_winograd_impl.h',
    find: '* kNinth) >> 6)',
    replace: '* kNinth) >> 5)',
    tests: winograd,
  },
  {
    title: "Winograd's patches of bytes padded with zeros instead of the mean",
    file: 'native/cpu/dot_winograd.cc',
    find: 'std::copy(pixel.begin(), pixel.end(), reinterpret_cast<uint8_t*>(padding_.data()));',
    replace: '',
    tests: winograd,
  },
  {
    title: 'weights for Winograd whose sums can be twice what is exact',
    file: 'native/cpu/dot_winograd.cc',
    find: 'kMostSum = int64_t(1) << 25',
    replace: 'kMostSum = int64_t(1) << 26',
    tests: winograd,
  },
  {
    title: 'AVX2 sums of four products taken to be half of what they are',
    file: 'native/cpu/dot_bounds_avx2.h',
    find: '_mm256_set1_epi16(kMostWord / 4)',
    replace: '_mm256_set1_epi16(kMostWord / 2)',
    tests: extremes,
  },
  {
    title: 'a residual overwritten though it is read later',
    file: 'native/cpu/slices.cc',
    find: ' || own[op.residual].end != i)',
    replace: ')',
    tests: opCases,
  },
]
