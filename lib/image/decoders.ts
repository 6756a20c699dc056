// The process-wide limit on concurrent image decoding: each image takes tens of megabytes.
import { TaskLimit } from '../base/task-limit.ts'

/** As many as libuv has threads to do it on: more would wait there, holding what they have read. */
export const decodersAtOnce = Math.max(1, Math.floor(Number(process.env.UV_THREADPOOL_SIZE)) || 4)

const limit = new TaskLimit(decodersAtOnce, Number.POSITIVE_INFINITY)

/**
 * Runs `task`, which decodes an image and does with it what needs it whole, when a place is free. Within the task no other place may
 * be asked for. Aborted, the promise rejects at once; the place is free when the task has ended.
 *
 * @throws the signal's reason, or what the task throws
 */
export function decoding<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  return limit.run(task, signal ?? new AbortController().signal)
}
