// The mutations: ways to break the CUDA backend, one at a time, each of which must make a test fail.

import type { Change } from './apply.ts'

/** Its file is below `native/`. */
export type Mutation = Change

const conv = 'cuda/conv_graph.cc'
const layout = 'cuda/layout.cc'
const weights = 'cuda/weights.cc'
const steps = 'cuda/steps.cc'
const executable = 'cuda/executable.cc'
const backend = 'cuda/cuda_backend.cc'
const session = 'binding/session.cc'
const kernels = (name: string) => `cuda/kernels/${name}.h`

export const mutations: readonly Mutation[] = [
  // The operation graph.
  {
    title: 'padding moved to the top left',
    file: conv,
    find: '.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding)',
    replace: '.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::vector<int64_t>(2, 2 * spec.padding))',
  },
  {
    title: 'mirrored windows',
    file: weights,
    find: 'weight[(k * channels + c) * taps + rs]',
    replace: 'weight[(k * channels + c) * taps + (taps - 1 - rs)]',
  },
  {
    title: 'stride forgotten',
    file: conv,
    find: 'std::vector<int64_t>(2, spec.stride)',
    replace: 'std::vector<int64_t>(2, 1)',
  },
  {
    title: 'ReLU forgotten',
    file: layout,
    find: 'spec.relu = op.relu;',
    replace: 'spec.relu = false;',
  },
  {
    title: 'ReLU where there is none',
    file: layout,
    find: 'spec.relu = op.relu;',
    replace: 'spec.relu = true;',
  },
  {
    title: 'residual forgotten',
    file: layout,
    find: 'spec.residual = op.residual != core::kNone;',
    replace: 'spec.residual = false;',
  },
  {
    title: 'scale forgotten',
    file: layout,
    find: 'spec.scale = precision_ == Precision::kFp16;',
    replace: 'spec.scale = false;',
  },
  {
    title: 'bias multiplied instead of added',
    file: conv,
    find: 'graph.pointwise(CUDNN_POINTWISE_ADD, &bias,',
    replace: 'graph.pointwise(CUDNN_POINTWISE_MUL, &bias,',
  },
  // What is bound to it.
  {
    title: 'scale bound as bias',
    file: steps,
    find: '{kBias, const_cast<float*>(weights.bias)}',
    replace: '{kBias, const_cast<float*>(weights.scale ? weights.scale : weights.bias + 4)}',
  },
  {
    title: 'source bound as residual',
    file: steps,
    find: 'step.bindings.push_back({kResidual, residual});',
    replace: 'step.bindings.push_back({kResidual, at(op.src)});',
  },
  {
    title: 'result written over the source',
    file: steps,
    find: '{kDst, at(op.dst)}',
    replace: '{kDst, at(op.src)}',
  },
  // Weights.
  {
    title: 'wrong channel padding of the weights',
    file: layout,
    find: 'return op.groups == 1 ? values_[op.src].padded : plan_.src(op).channels / op.groups;',
    replace: 'return plan_.src(op).channels / op.groups;',
  },
  {
    title: 'the last bias lost',
    file: weights,
    find: 'arrays.add(padded(bias, k_count, padded_k, 0.0f))',
    replace: 'arrays.add(padded(bias, k_count - 1, padded_k, 0.0f))',
  },
  {
    title: 'weights divided by the scale of the channel before',
    file: weights,
    find: '(scale.empty() ? 1.0f : scale[k])',
    replace: '(scale.empty() ? 1.0f : scale[k > 0 ? k - 1 : 0])',
  },
  {
    title: 'the mean added instead of subtracted',
    file: weights,
    find: '-double(op.mean[c])',
    replace: 'double(op.mean[c])',
  },
  // Memory.
  {
    title: 'overlapping arena slots: offsets not scaled with the batch',
    file: 'cuda/layout.h',
    find: 'return memory_.offsets[value] * batch;',
    replace: 'return memory_.offsets[value];',
  },
  {
    title: 'a residual’s slot given away too early',
    file: 'core/memory_plan.cc',
    find: 'for (const int value : Reads(op)) result[value].end = i;',
    replace: 'if (op.src != kNone) result[op.src].end = i;',
  },
  {
    title: 'every offset off by 16 bytes',
    file: 'cuda/steps.h',
    find: 'return arena_ + network_.layout.offset(value, batch_);',
    replace: 'return arena_ + network_.layout.offset(value, batch_) + 16;',
  },
  {
    title: 'an arena for one image too few',
    file: 'cuda/layout.h',
    find: 'return memory_.size * batch;',
    replace: 'return memory_.size * (batch > 1 ? batch - 1 : 1);',
  },
  {
    title: 'half the workspace',
    file: executable,
    find: 'workspace_(device_, largest_workspace(plans),',
    replace: 'workspace_(device_, largest_workspace(plans) / 2,',
  },
  {
    title: 'float32 logits taken for fp16',
    file: layout,
    find: 'spec.float_dst = values_[op.dst].is_float() && storage_type(precision_) != CUDNN_DATA_FLOAT;',
    replace: 'spec.float_dst = false;',
  },
  {
    title: 'a host pointer where the device’s belongs',
    file: executable,
    find: 'builder_.import(kind, slot.inputs[int(kind)].device.data())',
    replace: 'builder_.import(kind, slot.inputs[int(kind)].host.data())',
  },
  {
    title: 'a read of a value that was never written',
    file: executable,
    find: 'const std::vector<bool> needed = needed_ops(network_.plan, mask);',
    replace: 'result.clear(); const std::vector<bool> needed = needed_ops(network_.plan, mask);',
  },
  {
    title: 'the arena used after it was freed',
    file: executable,
    find: 'upload_ = make_stream(device_);',
    replace: 'upload_ = make_stream(device_); arena_ = DeviceBuffer();',
  },
  {
    title: 'a leak',
    file: executable,
    find: 'download_ = make_stream(device_);',
    replace: 'download_ = make_stream(device_); new DeviceBuffer(device_, 64, "a leak");',
  },
  // Streams, events, graphs.
  {
    title: 'computing does not wait for the upload',
    file: executable,
    find: 'compute_->wait(*slot.uploaded);',
    replace: '',
  },
  {
    title: 'the download does not wait for the computing',
    file: executable,
    find: 'download_->wait(*slot.computed);',
    replace: '',
  },
  {
    title: 'done before the download',
    file: executable,
    find: 'download_->record(*slot.done);',
    replace: 'compute_->record(*slot.done);',
  },
  {
    title: 'stale pointers: one slot’s graph replayed for both',
    file: executable,
    find: 'compute_->launch(*slot.graphs.at({kind, mask}));',
    replace:
      'compute_->launch(*(slots_[0]->graphs.count({kind, mask}) ? *slots_[0] : slot).graphs.at({kind, mask}));',
  },
  {
    title: 'a graph of bytes replayed for floats',
    file: executable,
    find: 'auto& graph = slot.graphs[{kind, mask}];',
    replace:
      'auto& graph = slot.graphs[{kind, mask}]; if (!graph && slot.graphs.size() > 1) kind = InputKind::kBytes;',
  },
  {
    title: 'a slot given back while its work is under way',
    file: executable,
    find: 'if (slot.submitted) {',
    replace: 'if (false) {',
  },
  // Parts of batches.
  {
    title: 'a sigmoid of the negated logit',
    file: kernels('sigmoid'),
    find: 'expf(-to_float(src[c]))',
    replace: 'expf(to_float(src[c]))',
  },
  {
    title: 'every part of a batch takes the first images',
    file: backend,
    find: 'source + begin * image, part.count * image',
    replace: 'source, part.count * image',
  },
  {
    title: 'every part’s outputs at the beginning',
    file: backend,
    find: 'outputs[i] + part.begin * elements',
    replace: 'outputs[i]',
  },
  // Outputs.
  {
    title: 'everything computed whatever is asked for',
    file: executable,
    find: 'if (needed[op]) result',
    replace: 'result',
  },
  {
    title: "the first image's gate taken for all",
    file: kernels('channel_gate'),
    find: 'a.gate + n * a.padded + item % vectors',
    replace: 'a.gate + 0 * n + item % vectors',
  },
  {
    title: 'a residual or a gate not computed where nothing else needs it',
    file: steps,
    find: 'for (const int value : core::Reads(op)) values[value] = true;',
    replace: 'if (op.src != core::kNone) values[op.src] = true;',
  },
  // Opening and compiling.
  {
    title: 'the libraries opened on the event loop',
    file: 'binding/addon.cc',
    find: '[candidates = read_candidates(info[0]), devices] {\n          core::open_libraries(candidates);',
    replace: '[opened = (core::open_libraries(read_candidates(info[0])), true), devices] {',
  },
  {
    title: 'the device opened on the event loop',
    file: session,
    find: '[plan, options, state] { *state = std::make_shared<SessionState>(std::move(*plan), options); }',
    replace: '(*state = std::make_shared<SessionState>(std::move(*plan), options), [] {})',
  },
  {
    title: 'a batch size that is ready waits for one that is compiled',
    file: backend,
    find: 'if (Executable* ready = find(batch)) return *ready;\n',
    replace: '\n',
  },
  {
    title: 'a batch size compiled by each of two that want it',
    file: backend,
    find: 'if (Executable* ready = find(batch)) return *ready;  // another wanted it, too',
    replace: '',
  },
  {
    title: 'the time of an event without a clock',
    file: 'cuda/autotune.cc',
    find: 'begin = make_event(device, EventClock::kTimed)',
    replace: 'begin = make_event(device, EventClock::kNone)',
  },
  // Kernels.
  {
    title: 'pixels taken to be padded',
    file: kernels('convert'),
    find: 'a.src[pixel * a.channels + c] * a.scale[c]',
    replace: 'a.src[pixel * a.padded + c] * a.scale[c]',
  },
  {
    title: 'outputs written with their padding',
    file: kernels('convert'),
    find: 'float* dst = a.dst + pixel * a.channels + channel;',
    replace: 'float* dst = a.dst + pixel * a.padded + channel;',
  },
  {
    title: 'a max pool a row too high',
    file: kernels('pool'),
    find: 'p * a.stride - a.padding,',
    replace: 'p * a.stride - a.padding - 1,',
  },
  {
    title: 'an average over part of the pixels',
    file: kernels('pool'),
    find: 'pixel < end; pixel += kRows',
    replace: 'pixel + kRows < end; pixel += kRows',
  },
  {
    title: 'a softmax that leaves out the first class',
    file: kernels('softmax'),
    find: 'for (int i = 0; i < kThreads; i++) sum += shared.sum[i];',
    replace: 'for (int i = 1; i < kThreads; i++) sum += shared.sum[i];',
  },
  {
    title: 'all groups read the first',
    file: kernels('conv_direct'),
    find: 'const int first = k / (a.dst_channels / a.groups) * channels;',
    replace: 'const int first = 0;',
  },
  {
    title: 'garbage in the padding of our own convolution',
    file: kernels('conv_direct'),
    find: 'a.dst[item] = from_float<Dst>(0.0f);',
    replace: 'a.dst[item] = from_float<Dst>(0.0f / (a.dst_channels - a.dst_channels));',
  },
  // Plans and their cache.
  {
    title: 'plans of one batch size used for another',
    file: 'cuda/conv_spec.h',
    find: ' src " + n(batch) + "x" +',
    replace: ' src " +',
  },
  {
    title: 'untuned plans taken for tuned ones',
    file: 'cuda/plan_builder.cc',
    find: 'entry && (entry->tuned || !tune)',
    replace: 'entry',
  },
  {
    title: 'damaged cache entries believed',
    file: 'cuda/plan_cache.cc',
    find: 'hex(hash(entry.json, hash(key)))',
    replace: 'hex(hash(key))',
  },
]
