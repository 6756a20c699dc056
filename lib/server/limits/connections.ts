// Closing the connections of a server that stops: none that carries a request, and none whose client may be sending one.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as afterReading, setTimeout as delay } from 'node:timers/promises'

interface Connection {
  /** Requests with complete headers that are not yet answered. */
  underWay: number
  /** The socket's `bytesRead` when last checked, or when the last answer was sent. */
  bytesRead: number
  quietSince: number
  /** Whether bytes have arrived since that do not yet make complete headers. */
  begun: boolean
}

const checkMs = 25
const lingerMs = 500 // for a client to close its end

/** The connections of a server. */
export class Connections {
  readonly #all = new Map<Socket, Connection>()

  constructor(server: Server) {
    server.on('connection', socket => {
      this.#all.set(socket, { underWay: 0, bytesRead: 0, quietSince: performance.now(), begun: false })
      socket.once('close', () => this.#all.delete(socket))
    })
    server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      const connection = this.#all.get(socket)
      if (!connection) return
      connection.underWay++
      response.once('close', () => {
        connection.underWay--
        connection.bytesRead = socket.bytesRead
        connection.begun = false
        connection.quietSince = performance.now()
      })
    })
  }

  /**
   * Closes every connection once it has been quiet for `graceMs` from now on, or for `headersMs` within a request's headers,
   * until all are closed. The only way to tell an HTTP client that no more requests are answered is to close its connection, so a
   * request sent at that moment is lost, though never started. The longer the connection has been quiet, the less likely that is.
   */
  async closeQuiet(graceMs: number, headersMs: number): Promise<void> {
    const begin = performance.now()
    for (const connection of this.#all.values()) connection.quietSince = begin
    while (this.#all.size > 0) {
      const isQuiet = ([socket, connection]: [Socket, Connection]) =>
        quietMs(socket, connection) >= (connection.begun ? headersMs : graceMs)
      const quiet = [...this.#all].filter(isQuiet)
      if (quiet.length > 0) await afterReading() // data that has already arrived is read in between
      for (const [socket] of quiet.filter(isQuiet)) closeSoftly(socket)
      await delay(checkMs)
    }
  }
}

/** How long nothing has arrived, counted from the last answer. */
function quietMs(socket: Socket, connection: Connection): number {
  if (connection.underWay > 0) return 0
  if (socket.bytesRead !== connection.bytesRead) {
    connection.bytesRead = socket.bytesRead
    connection.quietSince = performance.now()
    connection.begun = true
  }
  return performance.now() - connection.quietSince
}

/** Half-closes the connection and gives the client time to close its end. */
function closeSoftly(socket: Socket): void {
  if (!socket.writable) return
  socket.end()
  setTimeout(() => socket.destroy(), lingerMs).unref()
}
