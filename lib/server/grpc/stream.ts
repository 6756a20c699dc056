// Triton's request stream: answered in order, several at a time so that they share batches.
import type { ServerDuplexStream } from '@grpc/grpc-js'
import { errorAnswer } from '../protocol/answers.ts'
import type { Service } from '../service.ts'
import type { GrpcAnswer, ModelInferRequest } from './format.ts'
import { messageHeld } from './stream-limits.ts'

/** An answer in a stream: to a request, or its error. */
export interface StreamAnswer extends GrpcAnswer {
  readonly error?: string
}

const mostUnderWay = 16 // requests of one stream; the client holds back the rest

/** Answers every request of `call` with the result of `answer`, or with its error, and continues. */
export function answerStream(
  service: Service,
  call: ServerDuplexStream<ModelInferRequest, StreamAnswer>,
  answer: (request: ModelInferRequest) => Promise<GrpcAnswer>,
  failed: (error: unknown) => void,
): void {
  let underWay = 0
  let last = Promise.resolve()
  let ended = false
  let graceTimer: NodeJS.Timeout | undefined
  const { stopping } = service

  const answerOne = async (request: ModelInferRequest): Promise<StreamAnswer> => {
    try {
      return await answer(request)
    } catch (error) {
      failed(error)
      const { model_name, model_version, id } = request
      return { response: { model_name, model_version, id }, wire: [], error: errorAnswer(error).error }
    }
  }
  const send = (message: StreamAnswer) =>
    new Promise<void>(resolve => {
      if (call.cancelled) return resolve()
      call.once('cancelled', resolve)
      call.write(message, () => {
        call.off('cancelled', resolve)
        resolve()
      })
    })
  call.on('data', (request: ModelInferRequest) => {
    underWay++
    if (underWay >= mostUnderWay) call.pause()
    const answered = answerOne(request)
    last = last
      .then(async () => send(await answered))
      .finally(() => {
        messageHeld.get(request)?.release()
        underWay--
        if (!ended) call.resume()
      })
  })
  const end = () => {
    if (ended) return
    ended = true
    clearTimeout(graceTimer)
    stopping.removeEventListener('abort', stop)
    void last.then(() => call.end())
  }
  /** Requests that arrive soon are still answered, then the stream ends: a server can stop only once its calls have ended. */
  const stop = () => {
    graceTimer = setTimeout(() => {
      call.pause()
      end()
    }, service.options.graceMs)
  }
  call.on('end', end).on('cancelled', end)
  if (service.draining) stop()
  else stopping.addEventListener('abort', stop)
}
