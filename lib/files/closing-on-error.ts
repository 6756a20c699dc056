// What becomes of an open file that turns out not to be what was wanted? It is closed.

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
