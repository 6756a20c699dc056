// `npm run demo`: classifies the sample images with the bundled model, as a user would from the command line.
import { main } from '../dist/cli/main.js'

process.exitCode = await main(['classify', 'samples', '--top-k', '3'])
