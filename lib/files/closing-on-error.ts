// Opening helper: closes a file if what follows its opening fails.

/** What `use` makes of `source`, which is closed where that fails. */
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
