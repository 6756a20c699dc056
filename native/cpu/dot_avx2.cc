// int8 convolutions with AVX2, which cannot sum products of bytes in 32 bits: vpmaddubsw sums pairs of them
// in 16, where they need not fit. Whether they do follows from the weights (DotTask::bounds) and from the
// largest sources of a few rows. Nearly everywhere even sums of four products fit.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/dot_bounds_avx2.h"
#include "cpu/dot_finish_avx2.h"
#include "cpu/dot_registers_impl.h"
#include "cpu/dot_winograd_kernels.h"

namespace residual::cpu {
namespace {

alignas(32) constexpr int16_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
alignas(32) constexpr uint64_t kSigns[4] = {0x8080808080808080, 0x8080808080808080, 0x8080808080808080,
                                            0x8080808080808080};

// Some rows times a panel.
struct BoundedTask : RegisterTask {
  const Exceeding* exceeding;  // [tap_count][depth / kBoundedBytes], of all rows
  int step;                    // from one to the next: 1, or 0 where there is one for all
};

// 12 sums (for `kIsSigned` sources, which are moved by 128, 10), two sources and two products of the 16
// registers. Left to itself, GCC moves sums between registers and memory.
template <bool kIsSigned>
struct Registers {
  static constexpr bool kFlips = kIsSigned;
  static constexpr int kRows = kIsSigned ? 5 : 6;

  template <int kRowCount>
  static void sum(const BoundedTask& task) {
    using Rows = RowPointers<kRowCount>;
    __m256i sums[kRowCount][2];
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) sums[r][v] = load_vector(task.start + v * 8);
    const std::byte* weight = task.weight;
    const Exceeding* exceeding = task.exceeding;
    for (int tap = 0; tap < task.tap_count; tap++) {
      Rows rows(task.source + task.taps[tap], task.row_stride);
      for (int left = task.depth; left > 0; left -= kBoundedBytes) {
        const int groups = (left < kBoundedBytes ? left : kBoundedBytes) / kGroup;
        unsigned fours = exceeding->fours, pairs = exceeding->pairs;
        for (int i = 0; i < groups; i++, fours >>= 1, pairs >>= 1) {
          if (__builtin_expect(!(fours & 1), true))
            add_fours(sums, rows, weight);
          else if (!(pairs & 1))
            add_pairs(sums, rows, weight);
          else
            add_products(sums, rows, weight);
          weight += kGroup / 4 * kPanelRow;
          rows.advance(kGroup);
        }
        exceeding += task.step;
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(task.sums + r * kSumColumns + v * 8), sums[r][v]);
  }

 private:
  template <int kRowCount>
  using Sums = __m256i[kRowCount][2];
  using Vector = std::byte[32];

  // Adds the products of kGroup bytes: four at a time are summed in 16 bits.
  template <int kRowCount>
  static inline __attribute__((always_inline)) void add_fours(Sums<kRowCount>& sums,
                                                              const RowPointers<kRowCount>& rows,
                                                              const std::byte* weight) {
    const auto* const first = reinterpret_cast<const Vector*>(weight);
    const auto* const second = reinterpret_cast<const Vector*>(weight + kPanelRow);
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++) {
      const __m256i lower = repeated(rows[r]), upper = repeated(rows[r] + 4);
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) {
        __m256i words, more;
        __asm__ volatile(
            "vpmaddubsw %5, %3, %1\n\tvpmaddubsw %6, %4, %2\n\tvpaddw %1, %2, %1\n\t"
            "vpmaddwd %7, %1, %1\n\tvpaddd %1, %0, %0"
            : "+x"(sums[r][v]), "=&x"(words), "=&x"(more)
            : "x"(lower), "x"(upper), "m"(first[v]), "m"(second[v]), "m"(kOnes));
      }
    }
  }

  // The same, two at a time.
  template <int kRowCount>
  static inline __attribute__((always_inline)) void add_pairs(Sums<kRowCount>& sums,
                                                              const RowPointers<kRowCount>& rows,
                                                              const std::byte* weight) {
#pragma GCC unroll 2
    for (int i = 0; i < kGroup / 4; i++) {
      const auto* const weights = reinterpret_cast<const Vector*>(weight + i * kPanelRow);
#pragma GCC unroll 6
      for (int r = 0; r < kRowCount; r++) {
        const __m256i source = repeated(rows[r] + 4 * i);
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
          __m256i words;
          __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
                           : "+x"(sums[r][v]), "=&x"(words)
                           : "x"(source), "m"(weights[v]), "m"(kOnes));
        }
      }
    }
  }

  // The same, each in 32 bits: first the even, then the odd bytes, widened to 16 bits.
  template <int kRowCount>
  static inline __attribute__((always_inline)) void add_products(Sums<kRowCount>& sums,
                                                                 const RowPointers<kRowCount>& rows,
                                                                 const std::byte* weight) {
#pragma GCC unroll 2
    for (int i = 0; i < kGroup / 4; i++) {
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; odd++) {
        __m256i weights[2];
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
          const __m256i bytes = load_vector(weight + i * kPanelRow + v * 32);
          weights[v] = _mm256_srai_epi16(odd ? bytes : _mm256_slli_epi16(bytes, 8), 8);
        }
#pragma GCC unroll 6
        for (int r = 0; r < kRowCount; r++) {
          const __m256i bytes = repeated(rows[r] + 4 * i);
          const __m256i source = _mm256_srli_epi16(odd ? bytes : _mm256_slli_epi16(bytes, 8), 8);
#pragma GCC unroll 2
          for (int v = 0; v < 2; v++) {
            __m256i products;
            __asm__ volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
                             : "+x"(sums[r][v]), "=&x"(products)
                             : "x"(source), "x"(weights[v]));
          }
        }
      }
    }
  }

  // A dword in every lane.
  static __m256i repeated(const std::byte* source) {
    __m256i all;
    __asm__ volatile("vpbroadcastd %1, %0"
                     : "=x"(all)
                     : "m"(*reinterpret_cast<const std::byte(*)[4]>(source)));
    if constexpr (kIsSigned) __asm__ volatile("vpxor %1, %0, %0" : "+x"(all) : "m"(kSigns));
    return all;
  }
};

// A task, some blocks at a time: such as stay in the first-level cache while all panels pass by.
template <typename Registers>
class Blocks {
 public:
  explicit Blocks(const DotTask& task) : task_(task), row_(size_t(task.tap_count) * task.tap_bounds()) {
    const size_t most = kMostLargest / (kMostParts * row_);
    together_ = static_cast<int>(kBlockGroupBytes / (kMostDotRows * task.row_bytes())) + 1;
    if (most < size_t(together_)) together_ = most > 0 ? static_cast<int>(most) : 1;
    part_.row_stride = task.row_stride;
    part_.taps = task.taps;
    part_.tap_count = task.tap_count;
    part_.depth = task.depth;
    part_.step = most > 0;
  }

  void run(FinishRows finish) {
    const int panels = task_.panels();
    for (int first = 0; first < task_.block_count; first += together_) {
      const int end = first + together_ < task_.block_count ? first + together_ : task_.block_count;
      find_largest(first, end);
      for (int panel = 0; panel < panels; panel += 2) {
        const int count = panels - panel < 2 ? 1 : 2;
        for (int i = 0; i < count; i++) {
          set_start(i, panel + i);
          find_exceeding(i, panel + i);
        }
        size_t at = 0;
        for (int i = first; i < end; i++) {
          at = sum(task_.blocks[i], panel, count, at);
          finish(task_, task_.blocks[i], 0, task_.blocks[i].rows, panel, sums_);
        }
      }
    }
  }

 private:
  static constexpr int kMostParts = (kMostDotRows + Registers::kRows - 1) / Registers::kRows;
  static constexpr size_t kMostLargest = 1024;

  void set_start(int i, int panel) {
    const auto* const start = static_cast<const int32_t*>(task_.start) + panel * kPanelColumns;
    std::memcpy(starts_[i], start, sizeof starts_[i]);
    if (task_.is_signed) correct_start(starts_[i], task_, panel, /*sign=*/-1);
  }

  // Of each part of some blocks. Where rows are too long to remember them, sources may be as large as can be.
  void find_largest(int first, int end) {
    if (part_.step == 0) return;
    Largest* to = largest_;
    for (int i = first; i < end; i++)
      each_part<Registers::kRows>(task_.blocks[i].rows, [&](int row, int rows) {
        const std::byte* const source = source_of(task_.blocks[i]) + row * task_.row_stride;
        for (int tap = 0; tap < task_.tap_count; tap++, to += task_.tap_bounds())
          for (int at = 0; at < task_.depth; at += kUnit)
            cpu::find_largest<Registers::kFlips>(reinterpret_cast<std::byte*>(to) + at / 2,
                                                 source + task_.taps[tap] + at, task_.row_stride, rows);
      });
    count_ = to - largest_;
  }

  // Ahead of the sums, so that the processor knows early where to branch.
  void find_exceeding(int i, int panel) {
    exceeding_[i][0] = {255, 255};
    const Bounds* const bounds = task_.bounds + panel * row_;
    for (size_t part = 0; part < count_; part += row_)
      for (size_t at = 0; at < row_; at++)
        exceeding_[i][part + at] = exceeding(bounds[at], largest_[part + at]);
  }

  // Sums a block for one or two panels. `at`: of its `largest_`; returns that of the next block.
  size_t sum(const DotBlock& block, int panel, int panels, size_t at) {
    each_part<Registers::kRows>(block.rows, [&](int row, int rows) {
      part_.source = source_of(block) + row * task_.row_stride;
      for (int i = 0; i < panels; i++) {
        part_.weight = task_.weight + (panel + i) * task_.panel_bytes();
        part_.exceeding = exceeding_[i] + at;
        part_.start = starts_[i];
        part_.sums = sums_ + row * kSumColumns + i * kPanelColumns;
        sum_rows(part_, rows, std::make_integer_sequence<int, Registers::kRows>());
      }
      at += part_.step * row_;
    });
    return at;
  }

  template <int... kRow>
  static void sum_rows(const BoundedTask& part, int rows, std::integer_sequence<int, kRow...>) {
    using Sum = void (*)(const BoundedTask&);
    static constexpr Sum kSums[] = {Registers::template sum<kRow + 1>...};
    kSums[rows - 1](part);
  }

  const std::byte* source_of(const DotBlock& block) const { return block.source + task_.source_offset; }

  const DotTask& task_;
  const size_t row_;  // of Bounds and Largest
  int together_;      // blocks
  BoundedTask part_ = {};
  alignas(64) int32_t sums_[kMostDotRows * kSumColumns];
  alignas(64) int32_t starts_[2][kPanelColumns];
  size_t count_ = 0;               // of largest_
  Largest largest_[kMostLargest];  // [blocks][parts][row_], or one
  Exceeding exceeding_[2][kMostLargest];
};

void run(const DotTask& task) {
  const FinishRows finish = finish_int8<FinishInt8>(task.output);
  task.is_signed ? Blocks<Registers<true>>(task).run(finish) : Blocks<Registers<false>>(task).run(finish);
}

}  // namespace

extern const DotKernels kAvx2Int8Kernels = {
    "avx2", kUnit, /*block_rows=*/24, /*tile_rows=*/1, run, &kAvx2WinogradKernels, /*has_bounds=*/true};

}  // namespace residual::cpu
#endif
