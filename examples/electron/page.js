// The page: sends the bytes of the chosen file to the main process and shows the answer.
const output = document.querySelector('output')
document.querySelector('input').addEventListener('change', async event => {
  const [file] = event.target.files
  const { predictions, error } = await window.classify(new Uint8Array(await file.arrayBuffer()))
  output.textContent =
    error ?? predictions.map(({ label, probability }) => `${label} ${probability.toFixed(3)}`).join(', ')
})
