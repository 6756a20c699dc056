// One load of bench/serve.ts, in a process of its own. autocannon's command line would read a binary body as text.
import { readFileSync } from 'node:fs'
import autocannon from 'autocannon'

const { body, ...options } = JSON.parse(process.argv[2])
console.log(JSON.stringify(await autocannon({ ...options, method: 'POST', body: readFileSync(body) })))
