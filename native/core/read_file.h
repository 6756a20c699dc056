// Reading at a position of an open file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace residual::core {

// `file`: a descriptor of Node.js. Leaves the file's own position alone where the system can, so that several
// threads may read. Throws FILE_NOT_FOUND where reading fails, CHECKPOINT_INVALID where the file ends before.
void read_fully(int file, std::byte* to, size_t bytes, uint64_t position);

}  // namespace residual::core
