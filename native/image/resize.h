// Resizes an image the way Pillow does, so that networks see what they were trained on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace residual::image {

enum class Filter { kBilinear, kBicubic };

// A crop window of an image resized to out_height x out_width; all in pixels.
struct ResizeGeometry {
  int height = 0, width = 0;          // of the source
  int out_height = 0, out_width = 0;  // it is resized to this
  int top = 0, left = 0;              // of the crop in the resized image
  int crop_height = 0, crop_width = 0;
  Filter filter = Filter::kBilinear;
};

// Throws INTERNAL for sizes below 1 or so large that arithmetic would overflow, and windows outside the
// resized image.
void check(const ResizeGeometry& geometry);

// Antialiased resampling: the filter is as wide as the source pixels an output pixel covers. Columns first,
// rounded to bytes, then rows (https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters). Only
// what the window needs is computed. The geometry must have passed check().
void resize(uint8_t* dst,        // [crop_height,crop_width,3]
            const uint8_t* src,  // [height,width,3]
            const ResizeGeometry& geometry);

}  // namespace residual::image
