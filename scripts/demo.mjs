// `npm run demo`: classifies the sample images with the bundled model, as a user of the command line would.
import { main } from '../dist/cli/main.js'

process.exitCode = await main(['classify', 'samples', '--top-k', '3'])
