// The permission to use AMX's tiles, and their configuration: Intel SDM, volume 1, chapter 18.
#pragma once

namespace residual::cpu {

// Whether this process may use tiles. Asks the operating system once: from then on signal frames of threads
// that use tiles have 8 KiB more.
bool amx_available();

}  // namespace residual::cpu
