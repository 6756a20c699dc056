// Load a checkpoint you trained yourself: tensors under a wrapper's prefix, classes and preprocessing of your own.
//
//   node examples/custom-checkpoint.mjs [OUT.safetensors]
//
// The file is written here with random weights, in place of a training. Yours may be .safetensors, .pth, .pdparams, .h5, .keras or
// .onnx; `residual inspect FILE` prints what was understood.
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { initialise, load, openModel, parametersOf, resnet, saveModel, writeSafetensors } from 'residual'

const trained = join(await mkdtemp(join(tmpdir(), 'residual-')), 'trained.safetensors')
const out = process.argv[2] ?? trained.replace('trained', 'ready')

// What a training leaves: torchvision's names behind a prefix, and the tensors of something else.
const parameters = parametersOf(resnet({ layers: 18, classes: 3 }))
const source = initialise(parameters, /*seed=*/ 7)
const tensors = [{ name: 'discriminator.weight', shape: [1, 512], data: new Float32Array(512) }]
for (const { name, shape } of parameters)
  tensors.push({ name: `model.encoder.${name}`, shape, data: await source.read(name) })
await writeSafetensors(trained, tensors)

// What no tensor says. Put it into a JSON file of the same name to say it once for everybody.
const options = {
  prefix: 'model.encoder',
  labels: ['cat', 'dog', 'neither'],
  preprocessing: {
    steps: [{ resize: { height: 96, width: 96 } }],
    mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5],
  },
}
const model = await openModel(trained, options)
console.log(
  `ResNet-${model.architecture.layers}, ${model.labels.length} classes, names of ${model.scheme.name}`,
)
await saveModel(out, model) // the same network with all of that beside it: no options from here on
await model.close()

const classifier = await load(out)
const [predictions] = await classifier.classify(['samples/deer.jpg'])
console.log(
  `classes: ${predictions
    .map(({ label }) => label)
    .sort()
    .join(', ')}`,
)
await classifier.close()
