// The command line of `residual`: its commands and their options.
import { Command, CommanderError, Option } from 'commander'
import { packageVersion } from '../base/package-version.ts'
import { defaultBatch, defaultTopK } from '../classifier.ts'
import { ResidualError } from '../errors.ts'
import { defaultMaxQueue, defaultMaxWaitMs } from '../runtime/batching/batcher-options.ts'
import { defaultMaxBatch, precisions } from '../runtime/session-options.ts'
import { defaultDrainMs, defaultHost, defaultLimits, defaultPort, logLevels } from '../server/options.ts'
import { bench, benchOptions } from './bench.ts'
import { classify } from './classify/classify.ts'
import { compile } from './compile.ts'
import { convert, dtypes } from './convert.ts'
import { exportModel } from './export.ts'
import { info } from './info.ts'
import { inspect } from './inspect/inspect.ts'
import { modelOptions, networkOptions } from './options/model-options.ts'
import { index, positive, positives, real } from './options/numbers.ts'
import { pullModel } from './pull.ts'
import { serveUntilStopped } from './serve/serve.ts'
import { errorLine } from './terminal/errors.ts'
import { linesOf, warn } from './terminal/print.ts'

const defaultModel = 'resnet50-cifar10'

/** Runs a command line, without `node` and the script, and resolves to the exit code. Prints; never throws. */
export async function main(args: readonly string[]): Promise<number> {
  process.stdout.on('error', error => {
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0) // `| head` has seen enough
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
    if (error instanceof CommanderError) return error.exitCode // it has printed what is wrong
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

  modelOptions(program.command('classify').description('print the likeliest classes of images'))
    .argument(
      '<paths...>',
      'image files, folders of them, glob patterns, or - for one image on standard input',
    )
    .option(
      '--model <name|file>',
      "a bundled or pulled model, or a checkpoint's file or folder",
      defaultModel,
    )
    .option('--top-k <n>', `classes to print for each image (default: ${defaultTopK})`, positive)
    .option('--threshold <p>', 'print the classes with at least this probability, all unless --top-k', real)
    .addOption(
      new Option('--device <device>', 'what computes').choices(['auto', 'cpu', 'cuda']).default('auto'),
    )
    .option('--threads <n>', 'CPU: threads that compute (default: all there are)', positive)
    .option('--exact', 'CPU: slower convolutions that round less')
    .addOption(
      new Option('--precision <precision>', 'GPU: of the numbers').choices([...precisions]).default('fp16'),
    )
    .option('--device-index <n>', 'GPU: which, as the driver numbers them', index, 0)
    .option('--batch <n>', 'images that run through the network together', positive, defaultBatch)
    .option('--json', 'print a JSON array, an element per image')
    .option('--cam <out.png>', 'write the image with the class activation map of its first class')
    .action(async (paths, options) => exit(await classify(paths, options)))

  program
    .command('info')
    .description('print what this installation and this machine offer')
    .option(
      '--plan <model>',
      'print the operations of a model: a bundled one, a file, or resnet18 to resnet152',
    )
    .option('--size <n>', 'height and width of the images for --plan of a ResNet by name', positive, 224)
    .option('--json', 'print JSON')
    .action(async options => exit(await info(options)))

  networkOptions(
    program
      .command('compile')
      .description("compile a model's convolutions for a GPU, on a machine that need not have one"),
  )
    .requiredOption(
      '--gpu <name|file>',
      'a100, b200, h100, l4, t4, or a JSON file that describes one for cuDNN',
    )
    .option('--model <model>', 'a bundled model, a file, or resnet18 to resnet152', defaultModel)
    .addOption(
      new Option('--precision <precision>', 'of the numbers').choices([...precisions]).default('fp16'),
    )
    .option('--batch <n,...>', 'batch sizes', positives, [1])
    .requiredOption('--out <folder>', 'where to put the plans: the planCache of a session')
    .option('--size <n>', 'height and width of the images of a ResNet by name', positive, 224)
    .option('--json', 'print JSON')
    .action(async options => exit(await compile(options)))

  networkOptions(program.command('export').description('write a model in the format of another framework'))
    .argument('<out>', 'the file to write')
    .addOption(new Option('--to <format>', 'the format').choices(['onnx']).default('onnx'))
    .option('--model <model>', 'a bundled model, a file, or resnet18 to resnet152 (random)', defaultModel)
    .option('--folded', 'with batch norms folded into the convolutions, as residual runs it')
    .option('--size <n>', 'height and width of the images of a ResNet by name', positive, 224)
    .action(async (out, options) => exit(await exportModel(out, options)))

  modelOptions(
    program
      .command('inspect')
      .description('print what is in a checkpoint: its format, names, network, preprocessing, and a hash'),
  )
    .argument('<model>', 'a file of any format, a folder that has one, or a bundled model')
    .option('--stats', 'of each tensor its range, mean, standard deviation and a histogram')
    .option('--json', 'print JSON')
    .action(async (model, options) => exit(await inspect(model, options)))

  modelOptions(
    program
      .command('convert')
      .description(
        'write a checkpoint as safetensors, with a record of its network, labels and preprocessing',
      ),
  )
    .argument('<model>', 'a file of any format, a folder that has one, or a bundled model')
    .argument('<out.safetensors>', 'the file to write; the record becomes its neighbour out.json')
    .addOption(new Option('--dtype <dtype>', 'of the numbers').choices(Object.keys(dtypes)).default('fp32'))
    .option('--folded', 'with batch norms folded into the convolutions')
    .action(async (model, out, options) => exit(await convert(model, out, options)))

  program
    .command('pull')
    .description('download a well-known checkpoint; --model takes its name from then on')
    .argument('[name]', 'one of --list, or owner/repository[@revision] of the Hugging Face hub')
    .argument('[file]', 'a file of that repository (default: model.safetensors)')
    .option('--sha256 <digits>', 'what the SHA-256 of the file must be')
    .option('--offline', 'take it from the cache or not at all')
    .option('--list', 'print what there is')
    .option('--json', 'print JSON')
    .action(async (name, file, options) => exit(await pullModel(name, file, options)))

  modelOptions(
    program
      .command('serve')
      .description('answer for models over HTTP: the Open Inference Protocol, POST /classify, a page at /'),
  )
    .option('--model <name|file...>', "bundled models, or checkpoints' files or folders", [defaultModel])
    .option('--host <address>', 'the address to listen on', defaultHost)
    .option('--port <n>', 'the port to listen on; 0 for any that is free', index, defaultPort)
    .option('--grpc-port <n>', 'serve gRPC as well, on this port', index)
    .option('--max-batch <n>', 'images that run through the network together', positive, defaultMaxBatch)
    .option('--max-wait-ms <n>', 'how long an image waits for others to join it', index, defaultMaxWaitMs)
    .option('--queue <n>', 'images that may wait; more are refused', positive, defaultMaxQueue)
    .option('--instances <n>', 'sessions of each model', positive, 1)
    .addOption(
      new Option('--device <device>', 'what computes').choices(['auto', 'cpu', 'cuda']).default('auto'),
    )
    .option('--threads <n>', 'CPU: threads of each instance (default: all there are, shared)', positive)
    .option('--exact', 'CPU: slower convolutions that round less')
    .option('--autotune', 'choose by timing how to compute each convolution, once a machine')
    .addOption(
      new Option('--precision <precision>', 'GPU: of the numbers').choices([...precisions]).default('fp16'),
    )
    .option('--device-index <n>', 'GPU: which, as the driver numbers them', index, 0)
    .option('--decoders <n>', 'images that are decoded at a time', positive)
    .option(
      '--max-body-mib <n>',
      'the largest body of a request',
      positive,
      defaultLimits.bodyBytes / 2 ** 20,
    )
    .option('--max-megapixels <n>', 'the largest image', positive, defaultLimits.pixelsPerPicture / 1e6)
    .option('--max-pictures <n>', 'the most images of a request', positive, defaultLimits.picturesPerRequest)
    .option('--max-connections <n>', 'the most connections', positive, defaultLimits.connections)
    .option('--deadline-ms <n>', 'the most time a request may take', positive, defaultLimits.deadlineMs)
    .option('--drain-ms <n>', 'time to finish what was accepted when told to stop', index, defaultDrainMs)
    .option('--repository', 'let clients have models loaded anew')
    .addOption(new Option('--log-level <level>', 'what to log').choices([...logLevels]).default('info'))
    .action(async options => exit(await serveUntilStopped(options)))

  benchOptions(
    program
      .command('bench')
      .description('measure how fast a model is on the CPU, next to onnxruntime-node where that is installed')
      .option(
        '--model <model>',
        'a bundled model, a file, or resnet18 to resnet152 (random weights)',
        defaultModel,
      ),
  )
    .option('--json', 'print JSON')
    .addOption(new Option('--svg <out.svg>', 'write a chart').conflicts('op')) // which draws no network
    .action(async options => exit(await bench(options)))

  return program
}
