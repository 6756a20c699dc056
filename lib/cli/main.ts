// The command line of `residual`: its commands and their options.
import { Command, CommanderError, Option } from 'commander'
import { packageVersion } from '../base/package-version.ts'
import { defaultBatch, defaultTopK } from '../classifier.ts'
import { ResidualError } from '../errors.ts'
import { defaultAgreement, defaultMethod, defaultSamples } from '../quantize/options.ts'
import { rangeChoices } from '../quantize/ranges.ts'
import { defaultMaxQueue, defaultMaxWaitMs } from '../runtime/batching/batcher-options.ts'
import { cpuPrecisions, defaultMaxBatch, gpuPrecisions, precisions } from '../runtime/session-options.ts'
import { defaultDrainMs, defaultHost, defaultLimits, defaultPort, logLevels } from '../server/options.ts'
import { bench, benchOptions } from './bench.ts'
import { classify } from './classify/classify.ts'
import { compile } from './compile.ts'
import { convert, dtypes } from './convert.ts'
import { exportModel } from './export.ts'
import { info } from './info.ts'
import { inspect } from './inspect/inspect.ts'
import { modelOptions, networkOptions } from './options/model-options.ts'
import { fraction, index, positive, positives, real } from './options/numbers.ts'
import { pullModel } from './pull.ts'
import { quantizeModel } from './quantize.ts'
import { serveUntilStopped } from './serve/serve.ts'
import { errorLine } from './terminal/errors.ts'
import { linesOf, warn } from './terminal/print.ts'

const defaultModel = 'resnet50-cifar10'

/** Runs a command line, without `node` and the script, and resolves to the exit code. Prints; never throws. */
export async function main(args: readonly string[]): Promise<number> {
  process.stdout.on('error', error => {
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0) // `| head` has closed the pipe
    throw error
  })
  let exitCode = 0
  const program = commands(code => {
    exitCode = code
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode // commander has printed the error
    if (!(error instanceof ResidualError || error instanceof TypeError || error instanceof RangeError))
      throw error
    warn(errorLine(error))
    return 1
  }
}

function commands(exit: (code: number) => void): Command {
  const program = new Command('residual')
    .description('ResNets for Node.js: classify images on the CPU and on NVIDIA GPUs.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(linesOf(text)) })
    .showHelpAfterError()

  modelOptions(program.command('classify').description('print the most likely classes of images'))
    .argument(
      '<paths...>',
      'image files, folders of images, glob patterns, or - for one image on standard input',
    )
    .option(
      '--model <name|file>',
      'a bundled or pulled model, or the file or folder of a checkpoint',
      defaultModel,
    )
    .option('--top-k <n>', `number of classes to print per image (default: ${defaultTopK})`, positive)
    .option(
      '--threshold <p>',
      'print only classes with at least this probability (all of them unless --top-k)',
      real,
    )
    .addOption(
      new Option('--device <device>', 'compute device').choices(['auto', 'cpu', 'cuda']).default('auto'),
    )
    .option('--threads <n>', 'CPU: number of threads (default: all)', positive)
    .option('--exact', 'CPU: slower convolutions with less rounding')
    .addOption(precisionOption())
    .option('--device-index <n>', "GPU: index of the device, in the driver's order", index, 0)
    .option('--batch <n>', 'largest batch of images', positive, defaultBatch)
    .option('--json', 'print a JSON array with one element per image')
    .option('--cam <out.png>', 'write the image overlaid with the class activation map of its top class')
    .action(async (paths, options) => exit(await classify(paths, options)))

  program
    .command('info')
    .description('print the versions, devices and models available here')
    .option(
      '--plan <model>',
      'print the operations of a model: a bundled model, a file, or resnet18 to resnet152',
    )
    .addOption(
      new Option('--precision <precision>', 'print the plan as the CPU runs it in this precision').choices([
        ...cpuPrecisions,
      ]),
    )
    .option('--size <n>', 'image height and width for --plan resnet18 to resnet152', positive, 224)
    .option('--json', 'print JSON')
    .action(async options => exit(await info(options)))

  networkOptions(
    program
      .command('compile')
      .description("compile a model's convolutions for a GPU, which need not be present"),
  )
    .requiredOption(
      '--gpu <name|file>',
      "a100, b200, h100, l4, t4, or a JSON file with cuDNN's description of one",
    )
    .option('--model <model>', 'a bundled model, a file, or resnet18 to resnet152', defaultModel)
    .addOption(
      new Option('--precision <precision>', 'numeric precision').choices([...gpuPrecisions]).default('fp16'),
    )
    .option('--batch <n,...>', 'batch sizes', positives, [1])
    .requiredOption('--out <folder>', 'folder for the compiled plans, the planCache of a session')
    .option('--size <n>', 'image height and width for resnet18 to resnet152', positive, 224)
    .option('--json', 'print JSON')
    .action(async options => exit(await compile(options)))

  networkOptions(program.command('export').description("write a model in another framework's format"))
    .argument('<out>', 'the file to write')
    .addOption(new Option('--to <format>', 'the format').choices(['onnx']).default('onnx'))
    .option('--model <model>', 'a bundled model, a file, or resnet18 to resnet152 (random)', defaultModel)
    .option('--folded', 'fold batch norms into the convolutions, as residual runs them')
    .addOption(
      new Option(
        '--precision <precision>',
        'numeric precision (default: int8 if the model is quantized)',
      ).choices(['fp32', 'int8']),
    )
    .option('--size <n>', 'image height and width for resnet18 to resnet152', positive, 224)
    .action(async (out, options) => exit(await exportModel(out, options)))

  modelOptions(
    program
      .command('inspect')
      .description("print a checkpoint's format, naming scheme, network, preprocessing and hash"),
  )
    .argument('<model>', 'a file of any format, a folder with one in it, or a bundled model')
    .option('--stats', 'print the range, mean, standard deviation and a histogram of every tensor')
    .option('--json', 'print JSON')
    .action(async (model, options) => exit(await inspect(model, options)))

  modelOptions(
    program
      .command('convert')
      .description(
        'write a checkpoint as safetensors, with a record of its network, labels and preprocessing',
      ),
  )
    .argument('<model>', 'a file of any format, a folder with one in it, or a bundled model')
    .argument('<out.safetensors>', 'the file to write; the record is written next to it as out.json')
    .addOption(
      new Option('--dtype <dtype>', 'numeric precision').choices(Object.keys(dtypes)).default('fp32'),
    )
    .option('--folded', 'fold batch norms into the convolutions')
    .action(async (model, out, options) => exit(await convert(model, out, options)))

  modelOptions(
    program
      .command('quantize')
      .description(
        'write a model in 8-bit integers for the CPU, calibrated with images, and a report of how well it does',
      ),
  )
    .argument('<model>', 'a file of any format, a folder with one in it, or a bundled model')
    .requiredOption(
      '--images <folder>',
      'folder of images like those the model will see, in folders named by class if the accuracy is wanted',
    )
    .requiredOption(
      '-o, --out <out.safetensors>',
      'the file to write, replaced if it exists; the record is written next to it',
    )
    .option(
      '--samples <n>',
      'images that calibrate it; up to 1000 others tell how well it does',
      positive,
      defaultSamples,
    )
    .option(
      '--agreement <share>',
      `share of images that must keep their class: what hurts most is kept in bf16 (default: ${defaultAgreement}, as long as it is worth the time)`,
      fraction,
    )
    .addOption(
      new Option('--method <method>', 'how the ranges of values are chosen')
        .choices([...rangeChoices])
        .default(defaultMethod),
    )
    .option('--threads <n>', 'number of threads (default: all)', positive)
    .option('--report <file>', 'the report: .html, .md or .json (default: next to the model, .report.html)')
    .option('--json', 'print the report as JSON')
    .action(async (model, options) => exit(await quantizeModel(model, options)))

  program
    .command('pull')
    .description('download a well-known checkpoint; --model then accepts its name')
    .argument('[name]', 'a name from --list, or owner/repository[@revision] on the Hugging Face hub')
    .argument('[file]', 'a file of that repository (default: model.safetensors)')
    .option('--sha256 <digits>', 'the expected SHA-256 of the file')
    .option('--offline', 'use only the cache')
    .option('--list', 'list the available checkpoints')
    .option('--json', 'print JSON')
    .action(async (name, file, options) => exit(await pullModel(name, file, options)))

  modelOptions(
    program
      .command('serve')
      .description('serve models over HTTP: the Open Inference Protocol, POST /classify, a page at /'),
  )
    .option('--model <name|file...>', 'bundled or pulled models, or files or folders of checkpoints', [
      defaultModel,
    ])
    .option('--host <address>', 'the address to listen on', defaultHost)
    .option('--port <n>', 'the port to listen on; 0 for any free port', index, defaultPort)
    .option('--grpc-port <n>', 'also serve gRPC on this port', index)
    .option('--max-batch <n>', 'largest batch of images', positive, defaultMaxBatch)
    .option(
      '--max-wait-ms <n>',
      'how long an image waits for others to fill its batch',
      index,
      defaultMaxWaitMs,
    )
    .option('--queue <n>', 'queue limit in images; more are refused', positive, defaultMaxQueue)
    .option('--instances <n>', 'sessions per model', positive, 1)
    .addOption(
      new Option('--device <device>', 'compute device').choices(['auto', 'cpu', 'cuda']).default('auto'),
    )
    .option('--threads <n>', 'CPU: threads per instance (default: all, shared)', positive)
    .option('--exact', 'CPU: slower convolutions with less rounding')
    .option('--autotune', 'choose the algorithm of each convolution by timing, once per machine')
    .addOption(precisionOption())
    .option('--device-index <n>', "GPU: index of the device, in the driver's order", index, 0)
    .option('--decoders <n>', 'images decoded at a time', positive)
    .option('--max-body-mib <n>', 'largest request body', positive, defaultLimits.bodyBytes / 2 ** 20)
    .option('--max-megapixels <n>', 'largest image', positive, defaultLimits.pixelsPerPicture / 1e6)
    .option('--max-pictures <n>', 'most images per request', positive, defaultLimits.picturesPerRequest)
    .option('--max-connections <n>', 'most connections', positive, defaultLimits.connections)
    .option('--deadline-ms <n>', 'longest time a request may take', positive, defaultLimits.deadlineMs)
    .option('--drain-ms <n>', 'time to finish accepted requests when stopping', index, defaultDrainMs)
    .option('--repository', 'let clients reload models')
    .addOption(
      new Option('--log-level <level>', 'least severe messages to log')
        .choices([...logLevels])
        .default('info'),
    )
    .action(async options => exit(await serveUntilStopped(options)))

  benchOptions(
    program
      .command('bench')
      .description("measure a model's speed on the CPU, compared with onnxruntime-node if that is installed")
      .option(
        '--model <model>',
        'a bundled model, a file, or resnet18 to resnet152 (random weights)',
        defaultModel,
      ),
  )
    .option('--json', 'print JSON')
    .addOption(new Option('--svg <out.svg>', 'write a chart').conflicts('op')) // charts show whole networks only
    .action(async options => exit(await bench(options)))

  return program
}

/** Without a default, which depends on the device and the model. */
function precisionOption(): Option {
  const text =
    'numeric precision. GPU: fp16 (default), bf16, tf32, fp32. CPU: fp32 (default), bf16, or int8 (default for models of residual quantize)'
  return new Option('--precision <precision>', text).choices([...precisions])
}
