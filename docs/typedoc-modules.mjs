// Names the API reference's modules as they are imported.
import { ReflectionKind } from 'typedoc'

const names = { index: 'residual', server: 'residual/server', 'server/index': 'residual/server' }

export function load(app) {
  app.converter.on('createDeclaration', (_context, reflection) => {
    if (reflection.kind === ReflectionKind.Module) reflection.name = names[reflection.name] ?? reflection.name
  })
}
