// Define a network of your own: layers are functions, and lower() fuses them as it does for the built-in ResNets.
//
//   node examples/own-network.mjs
//
// The weights here are random, so the logits mean nothing. fromSafetensors(await openSafetensors(path)) reads trained ones.
import {
  add,
  convBN,
  createSession,
  formatPlan,
  globalAvgPool,
  initialise,
  input,
  linear,
  lower,
  maxPool,
  parametersOf,
  relu,
  trainableCount,
} from 'residual'

let x = convBN(input(), { names: { conv: 'stem', bn: 'stem_bn' }, channels: 32, kernel: 3 })
x = maxPool(x, { kernel: 2 })
const branch = convBN(x, { names: { conv: 'conv1', bn: 'bn1' }, channels: 32, kernel: 3, activation: null })
x = relu(add(branch, x))
const features = globalAvgPool(x)
const logits = linear(features, { name: 'fc', classes: 10 })
const network = { name: 'mine', graph: x.graph, outputs: { logits, features, featureMaps: x } }

const parameters = parametersOf(network)
console.log(`${trainableCount(parameters)} trainable parameters`)

const plan = lower(network, { height: 64, width: 64, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] })
console.log(formatPlan(plan))

const session = await createSession(plan, initialise(parameters, /*seed=*/ 1))
const pixels = new Uint8Array(2 * 64 * 64 * 3).fill(128) // [N,H,W,3]
const outputs = await session.run(pixels, { outputs: ['logits', 'featureMaps'] })
console.log(`logits [2,10]: ${outputs.logits.length} numbers`)
await session.dispose()
