// The fatbin of kernels.cu as read-only data of the addon; CMakeLists.txt says where it is.
    .section .rodata
    .global residual_kernels_fatbin
    .hidden residual_kernels_fatbin
    .balign 16
residual_kernels_fatbin:
    .incbin RESIDUAL_KERNELS_FATBIN
    .balign 16
    .section .note.GNU-stack, "", @progbits
