#include "cpu/dot_rows.h"

#include <algorithm>
#include <cstring>

namespace residual::cpu {
namespace {

constexpr int kMostPixels = 512;  // of a chunk; more share what is read of the weights
constexpr int kMostImages = 16;   // of a chunk
constexpr int kLeastPixels = 64;  // fewer leave tiles empty

// Of the packed weights, about.
size_t weight_bytes(const ConvGeometry& g, int number_bytes) {
  return size_t(g.taps()) * g.group_inputs() * g.dst.channels * number_bytes;
}

constexpr size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

bool DotRows::takes_kernel_rows(const ConvGeometry& g, int number_bytes) {
  return g.groups == 1 && g.kernel > 1 && g.src.channels <= kFewChannels && number_bytes <= 2;
}

DotRows::DotRows(const ConvGeometry& geometry, const DotKernels& kernels, int number_bytes,
                 size_t pixel_bytes, const PaddingPixel& padding)
    : g_(geometry),
      block_rows_(kernels.block_rows),
      tile_rows_(kernels.tile_rows),
      number_bytes_(number_bytes),
      taps_(geometry.taps()),
      depth_(0),
      own_bytes_(size_t(geometry.src.channels) * number_bytes),
      pixel_bytes_(pixel_bytes),
      padding_(padding) {
  const size_t most_scratch =
      are_many_weights(weight_bytes(g_, number_bytes_)) ? kernels.most_scratch : kScratchBytes;
  if (takes_kernel_rows(g_, number_bytes_)) {
    mode_ = Mode::kKernelRows;
    // Two rows of four bytes fill a tile's 64 bytes where the kernel is up to eight wide.
    if (kernels.unit == kPanelRow && number_bytes_ == 1) together_ = 2;
    step_ = g_.stride % together_ == 0 ? together_ : 1;
    taps_ = divide_up(g_.kernel, together_);
    pixel_bytes_ = size_t(together_) * kFewChannels * number_bytes_;
    depth_ = divide_up(g_.kernel * static_cast<int>(pixel_bytes_), kernels.unit) * kernels.unit;
    most_rows_ = std::max<int>(kScratchBytes / kernel_row_bytes() * step_ / g_.stride, 1);
  } else if (g_.kernel == 1 && g_.padding == 0) {
    mode_ = g_.stride == 1 && pixel_bytes_ == own_bytes_ ? Mode::kInPlace : Mode::kGathered;
    const int fitting =
        mode_ == Mode::kGathered ? static_cast<int>(most_scratch / pixel_bytes_) : kMostPixels;
    most_rows_ = std::clamp(fitting / block_rows_ * block_rows_, block_rows_,
                            divide_up(kMostPixels, block_rows_) * block_rows_);
  } else {
    mode_ = Mode::kPlanes;
    shared_ = g_.stride == 1 && g_.dst.width == g_.src.width ? g_.padding : 0;
    pitch_ = g_.dst.width + (g_.kernel - 1) / g_.stride - shared_;
    const size_t row = size_t(g_.stride) * g_.stride * pitch_ * pixel_bytes_;
    most_rows_ = std::max<int>(kScratchBytes / row - (g_.kernel - 1) / g_.stride, 1);
  }
  if (!by_pixels()) most_rows_ = std::min(most_rows_, g_.dst.height);
  if (mode_ == Mode::kPlanes && most_rows_ == g_.dst.height)
    most_images_ = std::clamp(static_cast<int>(most_scratch / planes_bytes()), 1, kMostImages);
}

DotRows::Place DotRows::place(int row, int column, int channel) const {
  if (mode_ != Mode::kKernelRows) return {row * g_.kernel + column, channel};
  return {row / together_, (column * together_ + row % together_) * kFewChannels + channel};
}

int DotRows::chunks(int batch, int wanted, int threads, bool shared_weights) const {
  const int pixels = g_.dst.height * g_.dst.width;
  if (by_pixels()) {
    const int count = divide_up(batch * pixels, most_rows_);
    return std::max(count, std::min(divide_up(count, wanted) * wanted, batch * pixels / kLeastPixels));
  }
  if (shared_weights && most_images_ > 1)
    return std::max(divide_up(batch, most_images_), std::min(threads, batch));
  int bands = divide_up(g_.dst.height, most_rows_);
  const int most = std::max(bands, std::min(g_.dst.height, pixels / kLeastPixels));
  while (batch * bands < wanted && bands < most) bands++;
  return batch * bands;
}

DotChunk DotRows::chunk(int index, int count, int batch) const {
  if (by_pixels()) {
    const int pixels = batch * g_.dst.height * g_.dst.width, blocks = divide_up(pixels, block_rows_);
    const auto begin = [&](int i) { return std::min(part_begin(blocks, count, i) * block_rows_, pixels); };
    return {{0, 0}, {begin(index), begin(index + 1)}};
  }
  if (count < batch)
    return {{part_begin(batch, count, index), part_begin(batch, count, index + 1)}, {0, g_.dst.height}};
  const int bands = count / batch, band = index % bands, image = index / bands;
  return {{image, image + 1},
          {part_begin(g_.dst.height, bands, band), part_begin(g_.dst.height, bands, band + 1)}};
}

// Of a chunk.
int DotRows::most_blocks() const {
  if (by_pixels()) return most_rows_ / block_rows_ + 1;
  if (mode_ == Mode::kPlanes) return most_images_ * divide_up(band_pixels(most_rows_), block_rows_);
  return most_rows_ * divide_up(g_.dst.width, block_rows_);
}

int DotRows::most_runs() const {
  return most_blocks() + (mode_ == Mode::kPlanes ? most_images_ * most_rows_ : 0);
}

size_t DotRows::plane_bytes() const {
  const int rows = most_rows_ + (g_.kernel - 1) / g_.stride;
  return aligned((size_t(rows) * pitch_ + shared_ + block_rows_) * pixel_bytes_);
}

// Its end is read by windows that are wider than the kernel, and by rows beyond the last.
size_t DotRows::kernel_row_bytes() const {
  const int pixels = g_.src.width + 2 * g_.padding + block_rows_ * g_.stride;
  return aligned(pixels * pixel_bytes_ + depth_);
}

size_t DotRows::rows_bytes() const {
  switch (mode_) {
    case Mode::kInPlace:
      return block_rows_ * pixel_bytes_;
    case Mode::kGathered:
      return (size_t(most_rows_) + block_rows_) * pixel_bytes_;
    case Mode::kPlanes:
      return most_images_ * planes_bytes();
    case Mode::kKernelRows:
      break;
  }
  return kernel_rows(most_rows_) * kernel_row_bytes();
}

size_t DotRows::scratch_bytes() const {
  return aligned(taps_ * sizeof(ptrdiff_t)) + aligned(most_blocks() * sizeof(DotBlock)) +
         aligned(most_runs() * sizeof(DotRun)) + rows_bytes();
}

DotRows::Scratch DotRows::parts_of(std::byte* scratch) const {
  std::byte* const blocks = scratch + aligned(taps_ * sizeof(ptrdiff_t));
  std::byte* const runs = blocks + aligned(most_blocks() * sizeof(DotBlock));
  std::byte* const rows = runs + aligned(most_runs() * sizeof(DotRun));
  return {reinterpret_cast<ptrdiff_t*>(scratch), reinterpret_cast<DotBlock*>(blocks),
          reinterpret_cast<DotRun*>(runs), rows};
}

DotChunkRows DotRows::arrange(const std::byte* src, const DotChunk& chunk, std::byte* scratch) const {
  const Scratch to = parts_of(scratch);
  DotChunkRows result = {to.blocks, 0, to.runs, pixel_bytes_, to.taps};
  if (by_pixels()) {
    arrange_pixels(src, chunk.extent, to, result);
    return result;
  }
  for (int n = chunk.images.begin, runs = 0; n < chunk.images.end; n++) {
    const std::byte* const image = src + n * g_.src.elements() * number_bytes_;
    const int first = runs;
    if (mode_ == Mode::kPlanes) {
      Scratch own = to;
      own.rows += (n - chunk.images.begin) * planes_bytes();
      runs = arrange_planes(image, chunk.extent, own, first, result);
    } else {
      arrange_kernel_rows(image, chunk.extent, to, result);  // of one image
      runs = result.block_count;
    }
    for (int i = first; i < runs; i++) to.runs[i].pixel += size_t(n) * g_.dst.height * g_.dst.width;
  }
  return result;
}

void DotRows::arrange_pixels(const std::byte* src, Range pixels, const Scratch& to,
                             DotChunkRows& result) const {
  to.taps[0] = 0;
  const std::byte* rows = src + pixels.begin * own_bytes_;
  if (mode_ == Mode::kGathered) {
    gather(to.rows, src, pixels);
    rows = to.rows;
  }
  for (int begin = pixels.begin; begin < pixels.end; begin += block_rows_) {
    const int count = std::min(block_rows_, pixels.end - begin), i = result.block_count++;
    const std::byte* source = rows + size_t(begin - pixels.begin) * pixel_bytes_;
    if (mode_ == Mode::kInPlace && count % tile_rows_ != 0) {  // nothing lies beyond the last row
      std::memcpy(to.rows, source, count * pixel_bytes_);
      source = to.rows;
    }
    to.blocks[i] = {source, count, i, 1};
    to.runs[i] = {0, count, size_t(begin)};
  }
}

// Some output pixels' inputs, side by side.
void DotRows::gather(std::byte* to, const std::byte* src, Range pixels) const {
  int x = pixels.begin % g_.dst.width, row = pixels.begin / g_.dst.width;
  int y = row % g_.dst.height, n = row / g_.dst.height;
  for (int pixel = pixels.begin; pixel < pixels.end; pixel++, to += pixel_bytes_) {
    const size_t at = (size_t(n) * g_.src.height + y * g_.stride) * g_.src.width + x * g_.stride;
    std::memcpy(to, src + at * own_bytes_, own_bytes_);
    std::memset(to + own_bytes_, 0, pixel_bytes_ - own_bytes_);
    if (++x < g_.dst.width) continue;
    x = 0;
    if (++y < g_.dst.height) continue;
    y = 0;
    n++;
  }
}

// One plane for each remainder of a position by the stride: in it, neighbouring output pixels read
// neighbours. Returns how many runs there are then; the taps are the same for all images.
int DotRows::arrange_planes(const std::byte* image, Range rows, const Scratch& to, int runs,
                            DotChunkRows& result) const {
  const int stride = g_.stride, used = std::min(stride, g_.kernel);
  for (int r = 0; r < used; r++)
    for (int s = 0; s < used; s++) {
      std::byte* at = to.rows + (r * stride + s) * plane_bytes();
      const int plane_rows = rows.size() + (g_.kernel - 1 - r) / stride;
      for (int i = 0; i < plane_rows; i++, at += pitch_ * pixel_bytes_)
        fill_plane_row(at, image, (rows.begin + i) * stride + r - g_.padding, s - g_.padding);
      fill_padding(at, shared_);
    }
  for (int r = 0; r < g_.kernel; r++)
    for (int s = 0; s < g_.kernel; s++)
      to.taps[r * g_.kernel + s] = (r % stride * stride + s % stride) * plane_bytes() +
                                   (size_t(r / stride) * pitch_ + s / stride) * pixel_bytes_;
  int x = 0, y = rows.begin;
  const int pixels = band_pixels(rows.size());
  for (int begin = 0; begin < pixels; begin += block_rows_) {
    const int count = std::min(block_rows_, pixels - begin), first_run = runs;
    for (int row = 0; row < count;) {
      const int inside = std::min(g_.dst.width - x, count - row);
      if (inside > 0) to.runs[runs++] = {row, inside, size_t(y) * g_.dst.width + x};
      const int passed = std::min(pitch_ - x, count - row);
      row += passed;
      x += passed;
      if (x < pitch_) continue;
      x = 0;
      y++;
    }
    to.blocks[result.block_count++] = {to.rows + begin * pixel_bytes_, count, first_run, runs - first_run};
  }
  return runs;
}

// The pixels of input row `y` from column `first_column` on, `stride` apart.
void DotRows::fill_plane_row(std::byte* to, const std::byte* image, int y, int first_column) const {
  if (y < 0 || y >= g_.src.height) {
    fill_padding(to, pitch_);
    return;
  }
  const std::byte* const row = image + size_t(y) * g_.src.width * own_bytes_;
  const int left = std::min(first_column < 0 ? divide_up(-first_column, g_.stride) : 0, pitch_);
  const int first = first_column + left * g_.stride;
  const int inside = std::clamp(divide_up(std::max(g_.src.width - first, 0), g_.stride), 0, pitch_ - left);
  fill_padding(to, left);
  to += left * pixel_bytes_;
  if (g_.stride == 1 && pixel_bytes_ == own_bytes_) {
    std::memcpy(to, row + first * own_bytes_, inside * own_bytes_);
  } else {
    for (int i = 0; i < inside; i++) {
      std::memcpy(to + i * pixel_bytes_, row + size_t(first + i * g_.stride) * own_bytes_, own_bytes_);
      std::memset(to + i * pixel_bytes_ + own_bytes_, 0, pixel_bytes_ - own_bytes_);
    }
  }
  fill_padding(to + inside * pixel_bytes_, pitch_ - left - inside);
}

void DotRows::fill_padding(std::byte* to, int pixels) const {
  std::memset(to, 0, pixels * pixel_bytes_);
  if (padding_.empty()) return;
  for (int i = 0; i < pixels; i++) std::memcpy(to + i * pixel_bytes_, padding_.data(), padding_.size());
}

void DotRows::arrange_kernel_rows(const std::byte* image, Range rows, const Scratch& to,
                                  DotChunkRows& result) const {
  const size_t row_bytes = kernel_row_bytes();
  for (int i = 0; i < kernel_rows(rows.size()); i++)
    for (int part = 0; part < together_; part++) {
      std::byte* const at = to.rows + i * row_bytes + part * kFewChannels * number_bytes_;
      const int y = rows.begin * g_.stride - g_.padding + i * step_ + part;
      number_bytes_ == 1 ? fill_kernel_row<uint32_t>(at, image, y) : fill_kernel_row<uint64_t>(at, image, y);
    }
  for (int tap = 0; tap < taps_; tap++) to.taps[tap] = size_t(tap) * together_ / step_ * row_bytes;
  result.row_stride = g_.stride * pixel_bytes_;
  for (int y = rows.begin; y < rows.end; y++)
    for (int x = 0; x < g_.dst.width; x += block_rows_) {
      const int count = std::min(block_rows_, g_.dst.width - x), i = result.block_count++;
      const size_t row = size_t(y - rows.begin) * g_.stride / step_;
      to.blocks[i] = {to.rows + row * row_bytes + x * result.row_stride, count, i, 1};
      to.runs[i] = {0, count, size_t(y) * g_.dst.width + x};
    }
}

// One input row of elements of four numbers (a Word), with padding on both sides and zeros beyond it.
template <typename Word>
void DotRows::fill_kernel_row(std::byte* to, const std::byte* image, int y) const {
  const int width = g_.src.width;
  Word pad = 0;
  if (!padding_.empty()) std::memcpy(&pad, padding_.data(), padding_.size());
  const auto put = [&](Word word) {
    std::memcpy(to, &word, sizeof word);
    to += pixel_bytes_;
  };
  const auto fill = [&](int count, Word word) {
    for (int i = 0; i < count; i++) put(word);
  };
  if (y < 0 || y >= g_.src.height) {
    fill(width + 2 * g_.padding, pad);
  } else {
    fill(g_.padding, pad);
    const std::byte* from = image + size_t(y) * width * own_bytes_;
    const Word mask = Word(~Word(0)) >> 8 * (sizeof(Word) - own_bytes_);
    size_t left = width * own_bytes_;
    for (; left >= sizeof(Word); left -= own_bytes_, from += own_bytes_) {
      Word word;
      std::memcpy(&word, from, sizeof word);  // and of the next pixels
      put(word & mask);
    }
    for (; left > 0; left -= own_bytes_, from += own_bytes_) {
      Word last = 0;
      std::memcpy(&last, from, own_bytes_);
      put(last);
    }
    fill(g_.padding, pad);
  }
  fill(divide_up(depth_, static_cast<int>(pixel_bytes_)), 0);
}

}  // namespace residual::cpu
