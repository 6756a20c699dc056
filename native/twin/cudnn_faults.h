// How is cuDNN made to refuse a plan? By a step in between, which counts the plans that are built.
#pragma once

namespace residual::twin {

// Once a process, after cuDNN was loaded.
void stand_before_cudnn();

// From now on the `nth` plan to be built fails, counting from 1, and with `all` those after it too; 0: none.
void refuse_plans(int nth, bool all);

}  // namespace residual::twin
