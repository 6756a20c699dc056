// The log in readable form: time, event, and the fields worth a glance.

/** Members of every line that do not matter on a terminal. */
const unsaid = new Set(['level', 'time', 'pid', 'hostname', 'reqId', 'msg', 'err'])
const [warning, error] = [40, 50] // pino's levels

/** A line of the JSON log, as text with its line break. */
export function readableLine(line: string): string {
  const entry = JSON.parse(line)
  const { level, time, msg, method, path, status, ms, ...rest } = entry
  const words = msg === 'request' ? [method, path, status, `${ms} ms`] : [msg]
  for (const [name, value] of Object.entries(rest))
    if (!unsaid.has(name))
      words.push(`${name}=${typeof value === 'object' ? JSON.stringify(value) : rounded(value)}`)
  if (entry.err !== undefined) words.push(entry.err.message)
  const kind = level >= error ? 'ERROR ' : level >= warning ? 'WARNING ' : ''
  return `${new Date(time).toTimeString().slice(0, 8)} ${kind}${visible(words.join(' '))}\n`
}

const rounded = (value: unknown) => (typeof value === 'number' ? Number(value.toFixed(1)) : value)

/** The text with its control characters escaped: a path or a message must not control the terminal. */
function visible(text: string): string {
  return text.replace(/\p{Cc}/gu, char => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
