// What a test sees of the twin and holds up: a log of what was done, and a file at which it waits.
#pragma once

#include <string>

namespace residual::twin {

// From now on done() writes to the end of that file, and pass_hold() waits while that one is there; empty:
// none.
void watch(const std::string& log, const std::string& hold);

// Appends a line.
void done(const std::string& what);

// Waits until the file that holds up is gone; false if after thirty seconds it is still there.
bool pass_hold();

}  // namespace residual::twin
