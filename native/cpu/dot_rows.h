// The rows of a reduced convolution: where each output pixel's inputs lie. A 1x1 convolution reads the value
// as it is; otherwise a task copies its part of the input, padded, to memory of its own, in which the inputs
// of neighbouring output pixels are equally far apart.
#pragma once

#include <vector>

#include "cpu/convolution.h"
#include "cpu/dot_kernels.h"
#include "cpu/ranges.h"

namespace residual::cpu {

// A part of the output pixels of a batch.
struct DotChunk {
  Range images;  // whose rows `extent` means; one or none where `extent` counts pixels
  Range extent;  // rows of each image, or pixels of the batch
};

// The rows of a chunk, as DotTask has them.
struct DotChunkRows {
  const DotBlock* blocks;
  int block_count;
  const DotRun* runs;
  size_t row_stride;
  const ptrdiff_t* taps;
};

class DotRows {
 public:
  // What padding reads: the bytes of a pixel. Empty: zeros.
  using PaddingPixel = std::vector<uint8_t>;

  // `number_bytes`: of a number. `pixel_bytes`: of a pixel, with the zeros that must follow its channels.
  DotRows(const ConvGeometry& geometry, const DotKernels& kernels, int number_bytes, size_t pixel_bytes,
          const PaddingPixel& padding);

  // Whether a tap is a row of the kernel, or two, rather than one position: where there are few channels.
  static bool takes_kernel_rows(const ConvGeometry& geometry, int number_bytes);

  // Where a weight belongs, as the kernels count taps and the numbers of one.
  struct Place {
    int tap;
    int index;
  };
  Place place(int row, int column, int channel) const;
  int taps() const { return taps_; }
  // The numbers of a tap, where it is made of kernel rows.
  int kernel_row_numbers() const { return g_.kernel * together_ * kFewChannels; }

  // In how many chunks a batch is computed so that about `wanted` tasks of some threads can share them, and
  // which those are. With `shared_weights` as few images as there are threads are apart: what is read of the
  // weights serves more of them.
  int chunks(int batch, int wanted, int threads, bool shared_weights) const;
  DotChunk chunk(int index, int count, int batch) const;

  // Arranges the rows of a chunk. They are in `src` or in `scratch`, as is all that the result refers to.
  DotChunkRows arrange(const std::byte* src, const DotChunk& chunk, std::byte* scratch) const;
  size_t scratch_bytes() const;

 private:
  static constexpr int kFewChannels = 4;

  enum class Mode { kInPlace, kGathered, kPlanes, kKernelRows };

  // The parts of a scratch.
  struct Scratch {
    ptrdiff_t* taps;
    DotBlock* blocks;
    DotRun* runs;
    std::byte* rows;
  };
  Scratch parts_of(std::byte* scratch) const;
  int most_blocks() const;
  int most_runs() const;

  bool by_pixels() const { return mode_ == Mode::kInPlace || mode_ == Mode::kGathered; }
  int band_pixels(int rows) const { return (rows - 1) * pitch_ + g_.dst.width; }
  size_t plane_bytes() const;
  size_t planes_bytes() const { return size_t(g_.stride) * g_.stride * plane_bytes(); }
  size_t kernel_row_bytes() const;
  int kernel_rows(int rows) const { return ((rows - 1) * g_.stride + together_ * (taps_ - 1)) / step_ + 1; }
  size_t rows_bytes() const;

  void arrange_pixels(const std::byte* src, Range pixels, const Scratch& to, DotChunkRows& result) const;
  void gather(std::byte* to, const std::byte* src, Range pixels) const;
  int arrange_planes(const std::byte* image, Range rows, const Scratch& to, int runs,
                     DotChunkRows& result) const;
  void fill_padding(std::byte* to, int pixels) const;
  void fill_plane_row(std::byte* to, const std::byte* image, int y, int first_column) const;
  void arrange_kernel_rows(const std::byte* image, Range rows, const Scratch& to, DotChunkRows& result) const;
  template <typename Word>
  void fill_kernel_row(std::byte* to, const std::byte* image, int y) const;

  ConvGeometry g_;
  int block_rows_, tile_rows_;
  int number_bytes_;
  Mode mode_ = Mode::kInPlace;
  int taps_;
  int depth_;           // bytes of a tap
  size_t own_bytes_;    // of a pixel in the value
  size_t pixel_bytes_;  // of a copied pixel
  PaddingPixel padding_;
  int most_rows_ = 1;    // output rows, or pixels, of a chunk
  int most_images_ = 1;  // of a chunk

  int pitch_ = 0;   // kPlanes: copied pixels from one row to the next
  int shared_ = 0;  // kPlanes: of them, the pixels of padding that end one row and begin the next
  // kKernelRows: input rows that lie side by side, pixel by pixel, and input rows from one such to the next
  int together_ = 1, step_ = 1;
};

}  // namespace residual::cpu
