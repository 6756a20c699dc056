// The known naming schemes, in the order they are tried.
import { caffe, caffeInPyTorch } from './caffe.ts'
import { keras, keras1, kerasUntil2018 } from './keras.ts'
import {
  paddleClas,
  paddleClasBlocks,
  paddleClasBlocksVd,
  paddleClasNext,
  paddleClasNextVd,
  paddleClasVd,
  paddleDygraph,
  paddleDygraphCaffe,
  paddleDygraphVd,
  paddleVision,
  paddleWsl,
} from './paddle.ts'
import type { Scheme } from './scheme.ts'
import {
  averaged,
  folded,
  foldedAveraged,
  foldedC,
  foldedD,
  openMMLab,
  timmC,
  timmD,
  torchvision,
} from './torchvision.ts'
import { transformers } from './transformers.ts'

/** The first whose marks a file has is chosen: those that share names with torchvision come before it. */
export const schemes: readonly Scheme[] = [
  transformers,
  paddleDygraph,
  paddleDygraphCaffe,
  paddleDygraphVd,
  paddleWsl,
  paddleClas,
  paddleClasNext,
  paddleClasNextVd,
  paddleClasVd,
  paddleClasBlocksVd,
  paddleClasBlocks,
  paddleVision,
  keras,
  kerasUntil2018,
  keras1,
  caffe,
  caffeInPyTorch,
  openMMLab,
  foldedD,
  foldedC,
  timmD,
  timmC,
  foldedAveraged,
  folded,
  averaged,
  torchvision,
]
