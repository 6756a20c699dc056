// Makes cuDNN refuse plans, by a layer in front of it that counts the plans it builds.
#pragma once

namespace residual::twin {

// Once a process, after cuDNN was loaded.
void stand_before_cudnn();

// From now on the `nth` plan to be built fails, counting from 1, and with `all` those after it too; 0: none.
void refuse_plans(int nth, bool all);

}  // namespace residual::twin
