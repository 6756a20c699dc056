// Opening helper: closes a file if what follows its opening fails.

/** The result of `use(source)`; if that fails, `source` is closed. */
export async function closingOnError<S extends { close(): Promise<void> }, T>(
  source: S,
  use: (source: S) => Promise<T>,
): Promise<T> {
  try {
    return await use(source)
  } catch (error) {
    await source.close()
    throw error
  }
}
