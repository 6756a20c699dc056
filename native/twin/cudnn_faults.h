// Makes cuDNN refuse plans, by a layer in front of it that counts the plans it builds.
#pragma once

namespace residual::twin {

// Call once per process, after cuDNN is loaded.
void stand_before_cudnn();

// From now on the `nth` plan built fails, counting from 1, and with `all` every later one too; 0: none.
void refuse_plans(int nth, bool all);

}  // namespace residual::twin
