// The fatbin of kernels.cu as read-only data in the addon; CMake defines its path.
    .section .rodata
    .global residual_kernels_fatbin
    .hidden residual_kernels_fatbin
    .balign 16
residual_kernels_fatbin:
    .incbin RESIDUAL_KERNELS_FATBIN
    .balign 16
    .section .note.GNU-stack, "", @progbits
