#include "binding/session_arguments.h"

#include <climits>
#include <cmath>

#include "binding/values.h"

namespace residual::binding {
namespace {

constexpr int64_t kMostBatchSize = 65536;

template <typename... Parts>
[[noreturn]] void internal(const Parts&... parts) {
  throw core::Error(core::ErrorCode::kInternal, (std::string() + ... + parts));
}

// A name for each of `ops` operations.
std::vector<std::string> read_algorithms(const Napi::Value& value, size_t ops) {
  std::vector<std::string> names = strings(value, {"The list of algorithms"}, ops);
  if (names.size() != ops) internal("The list of algorithms must name one for each operation.");
  return names;
}

std::vector<int> read_batch_sizes(const Napi::Value& value) {
  std::vector<int> sizes;
  for (const Napi::Value& each : elements(value, {"'batchSizes'"}, kMostBatchSize)) {
    sizes.push_back(static_cast<int>(integer(each, {"A batch size"}, 1, kMostBatchSize)));
    if (sizes.size() > 1 && sizes[sizes.size() - 2] >= sizes.back())
      internal("'batchSizes' must be ascending.");
  }
  if (sizes.empty()) internal("'batchSizes' must not be empty.");
  return sizes;
}

// Reads where the `bytes` of an op's weights lie. Throws INTERNAL.
void read_place(const Napi::Value& value, size_t bytes, const std::string& op, GivenWeights& to) {
  const Napi::Object stored = object(value, {"The source of the weights of '" + op + "'"});
  if (!stored.IsTypedArray()) {
    to.place.file = static_cast<int>(integer(
        stored.Get("descriptor"), {"The file descriptor of the weights of '" + op + "'"}, 0, INT_MAX));
    to.place.position = static_cast<uint64_t>(integer(
        stored.Get("position"), {"The position of the weights of '" + op + "'"}, 0, int64_t(1) << 53));
    return;
  }
  const TypedArrayView view = typed_array(value, {"The source of the weights of '" + op + "'"});
  if (view.type != napi_uint8_array || view.elements != bytes)
    internal("The weights of '", op, "' must be a Uint8Array of ", std::to_string(bytes), " bytes.");
  to.memory = copy_of<std::byte>(view);
  to.place.memory = to.memory.get();
}

// One finite number per output channel.
template <typename T>
std::shared_ptr<T[]> per_channel(const Napi::Value& value, napi_typedarray_type type, size_t channels,
                                 const std::string& op, const char* what) {
  const std::string name = std::string("The ") + what + " of '" + op + "'";
  const TypedArrayView view = typed_array(value, {name});
  if (view.type != type || view.elements != channels)
    internal(name, " must be a ", sizeof(T) == 8 ? "Float64Array" : "Float32Array", " of ",
             std::to_string(channels), " numbers.");
  std::shared_ptr<T[]> numbers = copy_of<T>(view);
  for (size_t k = 0; k < channels; k++)
    if (!std::isfinite(numbers[k]))
      throw core::Error(core::ErrorCode::kNonFinite,
                        std::string("The ") + what + " of channel " + std::to_string(k) + " is not finite.");
  return numbers;
}

}  // namespace

Batch read_batch(const Napi::Value& value, const core::Plan& plan) {
  const TypedArrayView array = typed_array(value, {"The input"});
  const size_t per_image = plan.input().elements(), count = array.elements / per_image;
  if (count == 0 || count * per_image != array.elements || count > INT_MAX)
    internal("The input has ", std::to_string(array.elements), " elements, not a multiple of ",
             std::to_string(per_image), ".");
  Batch batch;
  batch.count = static_cast<int>(count);
  if (array.type == napi_uint8_array)
    batch.bytes = copy_of<uint8_t>(array);
  else if (array.type == napi_float32_array)
    batch.floats = copy_of<float>(array);
  else
    internal("The input must be a Uint8Array or a Float32Array.");
  return batch;
}

Batch read_bytes(const Napi::Value& value, const core::Plan& plan) {
  const Batch batch = read_batch(value, plan);
  if (!batch.bytes) internal("The input must be a Uint8Array.");
  return batch;
}

core::BackendOptions read_options(const Napi::Value& value, const core::Plan& plan) {
  const Napi::Object from = object(value, {"The session options"});
  core::BackendOptions options;
  const auto if_there = [&](const char* name, const auto& take) {
    const Napi::Value member = from.Get(name);
    if (!member.IsUndefined()) take(member, Name{std::string("The session option ") + name});
  };
  const auto read_boolean = [&](const char* name, bool& to) {
    if_there(name, [&](const Napi::Value& value, const Name& called) { to = boolean(value, called); });
  };
  const auto read_string = [&](const char* name, std::string& to) {
    if_there(name, [&](const Napi::Value& value, const Name& called) { to = string(value, called); });
  };
  const auto read_integer = [&](const char* name, int& to, int least, int most) {
    if_there(name, [&](const Napi::Value& value, const Name& called) {
      to = static_cast<int>(integer(value, called, least, most));
    });
  };
  read_integer("threads", options.threads, 1, kMostThreads);
  read_boolean("exact", options.exact);
  read_string("isa", options.isa);
  if_there("algorithms", [&](const Napi::Value& value, const Name&) {
    options.algorithms = read_algorithms(value, plan.ops.size());
  });
  read_integer("deviceIndex", options.device_index, 0, INT_MAX);
  read_string("precision", options.precision);
  if_there("batchSizes",
           [&](const Napi::Value& value, const Name&) { options.batch_sizes = read_batch_sizes(value); });
  read_boolean("autotune", options.autotune);
  read_boolean("cudaGraph", options.graph);
  read_string("planCache", options.cache_folder);
  return options;
}

std::vector<int> read_outputs(const Napi::Value& value, const core::Plan& plan) {
  std::vector<int> outputs;
  for (const std::string& name : strings(value, {"The list of outputs"}, /*most=*/100)) {
    int output = 0;
    while (output < core::kOutputCount && name != core::kOutputNames[output]) output++;
    if (output == core::kOutputCount || plan.outputs[output] == core::kNone)
      internal("The plan has no output '", name, "'.");
    outputs.push_back(output);
  }
  return outputs;
}

GivenWeights read_weights(const Napi::CallbackInfo& info, const core::Plan& plan) {
  GivenWeights given;
  given.op = integer(info[0], {"The index of an operation"}, 0, int64_t(plan.ops.size()) - 1);
  const core::Op& target = plan.ops[given.op];
  given.shape = core::weight_shape(plan, target);
  if (given.shape.count() == 0) internal("Operation '", target.name, "' takes no weights.");
  const std::string of = " of the weights of '" + target.name + "'";
  const std::string layout = string(info[2], {"The layout" + of});
  if (layout != "KCRS" && layout != "RSCK") internal("The layout", of, " is unknown.");
  const auto type = core::stored_type(string(info[3], {"The type" + of}));
  if (!type) internal("The type", of, " is unknown.");
  const bool is_quantized = *type == core::StoredType::kI8;
  if (is_quantized && layout != "KCRS") internal("The integers", of, " must be laid out as KCRS.");
  given.type = *type;
  read_place(info[1], given.shape.count() * core::bytes_of(*type), target.name, given);
  given.place.layout = layout == "RSCK" ? core::WeightLayout::kRSCK : core::WeightLayout::kKCRS;
  given.scale = per_channel<double>(info[4], napi_float64_array, given.shape.outputs, target.name, "factor");
  given.bias = per_channel<float>(info[5], napi_float32_array, given.shape.outputs, target.name, "bias");
  for (size_t k = 0; is_quantized && k < given.shape.outputs; k++)
    if (given.scale[k] == 0) internal("The factor of channel ", std::to_string(k), of, " is 0.");
  return given;
}

}  // namespace residual::binding
