// The public API of `residual`.
export {
  Classifier,
  type ClassifyOptions,
  type EachOptions,
  type LoadOptions,
  load,
  type Prediction,
} from './classifier.ts'
export { type ErrorCode, errorCodes, ResidualError } from './errors.ts'
export { networkToOnnx, planToOnnx } from './export/onnx.ts'
export type { DecodeOptions } from './image/decode.ts'
export { imagenet, type Prepared, type Preprocessing, type Step, type View } from './image/preprocess.ts'
export { type Activation, activations } from './model/activation.ts'
export { basicBlock, bottleneck } from './model/blocks.ts'
export { formatPlan } from './model/format-plan.ts'
export type { Graph, Network, Value } from './model/graph.ts'
export {
  add,
  batchNorm,
  channelGate,
  conv,
  convBN,
  globalAvgPool,
  input,
  linear,
  localAvgPool,
  maxPool,
  relu,
} from './model/layers.ts'
export { type LowerOptions, lower } from './model/lower.ts'
export { type Parameter, parametersOf, trainableCount } from './model/parameters.ts'
export {
  type Op,
  type OpCost,
  type OutputName,
  opCost,
  outputNames,
  type Plan,
  type PlanValue,
  planCost,
  type Shape,
  type ValuePrecision,
} from './model/plan.ts'
export type { Quantization, QuantizedValue } from './model/quantization.ts'
export {
  type ResNetOptions,
  resnet,
  resnet18,
  resnet34,
  resnet50,
  resnet101,
  resnet152,
  resnext50_32x4d,
  resnext101_32x8d,
  wideResnet50_2,
  wideResnet101_2,
} from './model/resnet.ts'
export { type ModelOptions, type OpenModel, openModel } from './open-model.ts'
export type { ImageResult, ImageResult as PictureResult, Images, Images as Pictures } from './pipeline.ts'
export type { LabelledImage, UnreadableImage } from './quantize/images.ts'
export type { KeptOp } from './quantize/keep-ops.ts'
export type { OpNoise } from './quantize/noise.ts'
export type { QuantizeOptions } from './quantize/options.ts'
export { quantize } from './quantize/quantize.ts'
export { type RangeChoice, type RangeMethod, rangeChoices, rangeMethods } from './quantize/ranges.ts'
export type { ClassReport, QuantizeReport } from './quantize/report.ts'
export type { Speed } from './quantize/speed.ts'
export type { QuantizeProgress } from './quantize/steps.ts'
export type { Progress } from './registry/download.ts'
export { type PullOptions, pull } from './registry/pull.ts'
export type { BatchAnswer } from './runtime/batching/batch-parts.ts'
export { Batcher } from './runtime/batching/batcher.ts'
export type { BatcherOptions, BatchRequest, BatchRunner } from './runtime/batching/batcher-options.ts'
export {
  type CompileOptions,
  type CompileReport,
  compilePlan,
  knownGpus,
  readGpu,
} from './runtime/compile.ts'
export { type BackendReport, findBackends } from './runtime/device.ts'
export {
  createSession,
  type OpTime,
  type Outputs,
  type ProfileOptions,
  type RunOptions,
  type Session,
  type SessionDevice,
} from './runtime/session.ts'
export type { CpuPrecision, GpuPrecision, Precision, SessionOptions } from './runtime/session-options.ts'
export { type SavedModel, saveModel } from './save-model.ts'
export type { Checkpoint, CheckpointTensor } from './weights/checkpoint/checkpoint.ts'
export type { FilePlace } from './weights/checkpoint/checkpoint-file.ts'
export { openCheckpoint } from './weights/formats/open.ts'
export { openSafetensors, type Safetensors } from './weights/formats/safetensors/open-safetensors.ts'
export { fromSafetensors } from './weights/formats/safetensors/source.ts'
export {
  type DeferredIntegers,
  type DeferredTensor,
  type NamedTensor,
  type WriteOptions,
  writeSafetensors,
} from './weights/formats/safetensors/write.ts'
export { initialise } from './weights/init.ts'
export { type Recognised, recognise } from './weights/names/recognise.ts'
export type { Scheme } from './weights/names/scheme.ts'
export { type SaveOptions, saveNetwork } from './weights/save.ts'
export { checkParameters, fromTensors, type Tensor, type WeightSource } from './weights/source.ts'
export type { QuantizedTensor } from './weights/tensors/quantized-tensor.ts'
