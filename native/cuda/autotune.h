// Autotuning: times each candidate on the device, on buffers like those it will run on.
#pragma once

#include "cuda/device.h"
#include "cuda/engines.h"

namespace residual::cuda {

// The fastest of `candidates` that builds and fits; INTERNAL if none does. Uses `stream` alone.
EnginePlan fastest_plan(const ConvSpec& spec, const std::vector<Descriptor>& candidates,
                        const Descriptor& gpu, const std::shared_ptr<Device>& device, Stream& stream);

}  // namespace residual::cuda
