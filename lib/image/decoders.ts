// The process-wide limit on concurrent image decoding: each image takes tens of megabytes.
import { TaskLimit } from '../base/task-limit.ts'

/** One per libuv thread: more would only wait there, holding the files they have read. */
export const decodersAtOnce = Math.max(1, Math.floor(Number(process.env.UV_THREADPOOL_SIZE)) || 4)

const limit = new TaskLimit(decodersAtOnce, Number.POSITIVE_INFINITY)

/**
 * Runs `task`, which decodes an image and does whatever needs all of it, once a slot is free. The task must not ask for another
 * slot. If aborted, the promise rejects at once, and the slot is freed when the task ends.
 *
 * @throws the signal's reason, or what the task throws
 */
export function decoding<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  return limit.run(task, signal ?? new AbortController().signal)
}
