// Lists of names in messages. A hostile file may have any number of them, of any length.

const most = 5
const longest = 100

/** The first few names, and the number of the others. */
export function excerpt(names: readonly string[]): string {
  const shown = names
    .slice(0, most)
    .map(name => (name.length > longest ? `${name.slice(0, longest)}...` : name))
    .join(', ')
  return names.length > most ? `${shown} and ${names.length - most} more` : shown
}
