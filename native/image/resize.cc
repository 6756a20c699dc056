#include "image/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace residual::image {
namespace {

constexpr int kChannels = 3;
constexpr int kMaxExtent = 1 << 24;
// Weights are integers in units of 2^-22: a sum of bytes times weights then fits in 31 bits, with one to
// spare for the bicubic filter, whose weights overshoot.
constexpr int kWeightBits = 22;

// The filters as functions of the distance, in output pixels when shrinking and source pixels when enlarging.
double bilinear(double x) { return std::max(1 - std::abs(x), 0.0); }

double bicubic(double x) {  // Keys' cubic convolution with a = -0.5
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((x - 5) * x + 8) * x * a - 4 * a;
  return 0;
}

// Which source pixels make up each output pixel of [begin, end), and how much of each.
struct Weights {
  std::vector<int> first, count;  // per output pixel
  std::vector<int32_t> values;    // [output pixels][most]
  int most = 0;

  const int32_t* of(int i) const { return &values[size_t(i) * most]; }
};

Weights make_weights(int in, int out, int begin, int end, Filter filter) {
  const double scale = double(in) / out;
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == Filter::kBilinear ? 1 : 2) * stretch;
  Weights w;
  w.most = static_cast<int>(std::ceil(support)) * 2 + 1;
  w.values.assign(size_t(end - begin) * w.most, 0);
  std::vector<double> exact(w.most);
  for (int i = begin; i < end; i++) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), in);
    double sum = 0;
    for (int x = first; x < last; x++) {
      const double distance = (x + 0.5 - center) / stretch;
      sum += exact[x - first] = filter == Filter::kBilinear ? bilinear(distance) : bicubic(distance);
    }
    int32_t* values = &w.values[size_t(i - begin) * w.most];
    for (int x = first; x < last; x++)
      values[x - first] = static_cast<int32_t>(std::lround(exact[x - first] / sum * (1 << kWeightBits)));
    w.first.push_back(first);
    w.count.push_back(last - first);
  }
  return w;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

void resize_row(uint8_t* dst, const uint8_t* src, const Weights& columns) {
  for (size_t x = 0; x < columns.first.size(); x++) {
    const uint8_t* from = src + size_t(columns.first[x]) * kChannels;
    const int32_t* weight = columns.of(static_cast<int>(x));
    int32_t r = kHalf, g = kHalf, b = kHalf;
    for (int i = 0; i < columns.count[x]; i++, from += kChannels) {
      r += from[0] * weight[i];
      g += from[1] * weight[i];
      b += from[2] * weight[i];
    }
    dst[x * kChannels] = to_byte(r);
    dst[x * kChannels + 1] = to_byte(g);
    dst[x * kChannels + 2] = to_byte(b);
  }
}

}  // namespace

void check(const ResizeGeometry& g) {
  const auto inside = [](int extent, int out, int begin, int size) {
    return extent >= 1 && extent <= kMaxExtent && out >= 1 && out <= kMaxExtent && begin >= 0 && size >= 1 &&
           size <= out && begin <= out - size;
  };
  if (!inside(g.height, g.out_height, g.top, g.crop_height) ||
      !inside(g.width, g.out_width, g.left, g.crop_width))
    throw core::Error(core::ErrorCode::kInternal, "The resize geometry is out of range.");
}

void resize(uint8_t* dst, const uint8_t* src, const ResizeGeometry& g) {
  const Weights columns = make_weights(g.width, g.out_width, g.left, g.left + g.crop_width, g.filter);
  const Weights rows = make_weights(g.height, g.out_height, g.top, g.top + g.crop_height, g.filter);
  const int begin = rows.first.front(), end = rows.first.back() + rows.count.back();
  const size_t stride = size_t(g.crop_width) * kChannels;

  std::vector<uint8_t> narrow(stride * (end - begin));  // the source rows the window needs, at its width
  for (int y = begin; y < end; y++)
    resize_row(&narrow[stride * (y - begin)], src + size_t(y) * g.width * kChannels, columns);

  std::vector<int32_t> sums(stride);
  for (int y = 0; y < g.crop_height; y++) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int i = 0; i < rows.count[y]; i++) {
      const uint8_t* from = &narrow[stride * (rows.first[y] - begin + i)];
      const int32_t weight = rows.of(y)[i];
      for (size_t x = 0; x < stride; x++) sums[x] += from[x] * weight;
    }
    for (size_t x = 0; x < stride; x++) dst[stride * y + x] = to_byte(sums[x]);
  }
}

}  // namespace residual::image
