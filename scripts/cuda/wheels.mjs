// The one place where versions are pinned: NVIDIA's wheels on PyPI that the CUDA backend is built and tested with, and the sha256
// of each for Linux on x86-64 and AArch64, which pip checks (`pip download --require-hashes`).
//
// To change one: `pip download --no-deps --platform manylinux_2_28_x86_64 --only-binary :all: NAME==VERSION`, the same for
// manylinux_2_28_aarch64, and `pip hash FILES`.

/**
 * @typedef {object} Wheel
 * @property {string} name
 * @property {string} version
 * @property {readonly string[]} sha256 of each acceptable file
 */

/**
 * nvcc and what it needs: cicc, headers and the runtime of CUDA 13.0. Newer ones make code that some drivers for 13.0 cannot load.
 *
 * @type {readonly Wheel[]}
 */
export const compiler = [
  {
    name: 'nvidia-cuda-nvcc',
    version: '13.0.88',
    sha256: [
      '56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03', // x86_64
      'c7ff28f86a24effdc6c034fa15230c549a273e4771b10a7fec14996f8cf3307f', // aarch64
    ],
  },
  {
    name: 'nvidia-nvvm',
    version: '13.0.88',
    sha256: [
      'c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0', // x86_64
      'c4376a291d72d22a315d9d2f69bdae8f8cd83a627f75bad395cee49a0fe65dc1', // aarch64
    ],
  },
  {
    name: 'nvidia-cuda-crt',
    version: '13.0.88',
    sha256: [
      '2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4', // x86_64
      'ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003', // aarch64
    ],
  },
  {
    name: 'nvidia-cuda-cccl',
    version: '13.0.85',
    sha256: [
      'e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649', // x86_64
      '6f0203e29fed809ee2b7fe9b1344df66ecab990c37d6a2e0e189b26d6c97ed7c', // aarch64
    ],
  },
  {
    name: 'nvidia-cuda-runtime',
    version: '13.0.96',
    sha256: [
      '7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548', // x86_64
      'ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55', // aarch64
    ],
  },
]

/** @type {Wheel} cuDNN compiles its kernels with it at run time. */
export const nvrtc = {
  name: 'nvidia-cuda-nvrtc',
  version: '13.0.88',
  sha256: [
    'ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575', // x86_64
    'd27f20a0ca67a4bb34268a5e951033496c5b74870b868bacd046b1b8e0c3267b', // aarch64
  ],
}

/** @type {Wheel} cuDNN calls it on a GPU. Without a GPU a stand-in will do (native/standin). */
export const cublas = {
  name: 'nvidia-cublas',
  version: '13.1.0.3',
  sha256: [
    'ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171', // x86_64
    'c86fc7f7ae36d7528288c5d88098edcb7b02c633d262e7ddbb86b0ad91be5df2', // aarch64
  ],
}

/**
 * The versions of cuDNN that `npm run test:cudnn-versions` covers: the oldest for CUDA 13, which is the oldest that residual
 * accepts; the one that PyTorch 2.11 for CUDA 13 requires; the pinned one; the newest.
 *
 * @type {readonly Wheel[]}
 */
export const cudnnVersions = [
  {
    name: 'nvidia-cudnn-cu13',
    version: '9.12.0.46',
    sha256: [
      'f3befad533e234069eb61ae0d12cb7aa8af0ccf36f28c1d4273cc0005d990de0', // x86_64
      '62e8441f9693547fe72108b1974fb82fde9a89d6dcb7b7d117ce8969d08e08e3', // aarch64
    ],
  },
  {
    name: 'nvidia-cudnn-cu13',
    version: '9.19.0.56',
    sha256: [
      'd20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf', // x86_64
      '6ed29ffaee1176c612daf442e4dd6cfeb6a0caa43ddcbeb59da94953030b1be4', // aarch64
    ],
  },
  {
    name: 'nvidia-cudnn-cu13',
    version: '9.24.0.43',
    sha256: [
      '71f181cd810e90f9b6023b01186fe82d13d65f0ec098581ee201d39fad769e4b', // x86_64
      'a6812a554a1ff0413e9c52b84c26c050380649ab9615f9c16bded368ce9f421f', // aarch64
    ],
  },
  {
    name: 'nvidia-cudnn-cu13',
    version: '9.28.1.4',
    sha256: [
      'a54f205b1db1f2895d99f398754db1369816f0569dd459731f925635cf7b65ec', // x86_64
      '759b6a4919951ed8ec603dec97b96f6a6396c8269b95b3d345526e2471fb433d', // aarch64
    ],
  },
]

/** @type {Wheel} The pinned version: downloaded by default, used in CI, and described in docs/plans.md. */
export const cudnn = cudnnVersions[2]

/** @type {Wheel} */
export const cudart = compiler.find(({ name }) => name === 'nvidia-cuda-runtime')

/** The wheels that may be installed together in `.deps/cuda`. */
export const pinned = [...compiler, nvrtc, cublas, cudnn]
