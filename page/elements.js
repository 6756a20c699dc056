// The page's elements by id, and saving a file.

export const byId = id => document.getElementById(id)

/** Has the browser save `text`. */
export function saveAs(name, type, text) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([text], { type }))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000) // some browsers read it later
}
