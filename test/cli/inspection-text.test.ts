import { expect, it } from 'vitest'
import type { InspectedNetwork } from '../../lib/cli/inspect/inspection.ts'
import { inspectionText } from '../../lib/cli/inspect/inspection-text.ts'
import { imagenet } from '../../lib/image/preprocess.ts'

it('says why a model that its file quantizes is computed in float32', () => {
  const network: InspectedNetwork = {
    ...{ scheme: 'torchvision, folded', prefix: '', architecture: { layers: 18 }, labels: ['a'] },
    ...{ labelsFrom: 'numbers', activation: 'softmax', preprocessing: imagenet },
    unquantized: 'of 21 operations what it reads has 16 bits',
  }
  const text = inspectionText({
    ...{ path: 'wide.onnx', format: 'ONNX', bytes: 1, sha256: '0', metadata: {}, tensors: {} },
    network,
  })
  expect([text].flat().join('\n')).toMatch(
    /^quantization +none: of 21 operations what it reads has 16 bits$/m,
  )
})
