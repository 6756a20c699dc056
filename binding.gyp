# Written by scripts/native/write-gyp.mjs.
{
  "target_defaults": {
    "defines": [
      "NAPI_VERSION=8",
      "NODE_ADDON_API_CPP_EXCEPTIONS",
      "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"
    ],
    "include_dirs": [
      "native",
      "<!(node -p \"require('node-addon-api').include_dir\")"
    ],
    "cflags_cc!": [
      "-fno-exceptions",
      "-fno-rtti",
      "-std=gnu++17",
      "-std=gnu++20"
    ],
    "cflags!": [
      "-fno-exceptions",
      "-fno-omit-frame-pointer"
    ],
    "cflags_cc": [
      "-std=c++17",
      "-O3",
      "-fvisibility=hidden",
      "-Wall",
      "-Wextra",
      "-Wno-unused-parameter"
    ],
    "xcode_settings": {
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "GCC_OPTIMIZATION_LEVEL": "3",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES"
    }
  },
  "targets": [
    {
      "target_name": "residual-cpu",
      "sources": [
        "native/binding/addon.cc",
        "native/binding/compile.cc",
        "native/binding/operations.cc",
        "native/binding/plan_reader.cc",
        "native/binding/resize.cc",
        "native/binding/session.cc",
        "native/binding/session_arguments.cc",
        "native/binding/session_results.cc",
        "native/binding/session_state.cc",
        "native/binding/values.cc",
        "native/core/memory_plan.cc",
        "native/core/plan.cc",
        "native/core/read_file.cc",
        "native/core/stored_weights.cc",
        "native/cpu/amx.cc",
        "native/cpu/convolution.cc",
        "native/cpu/cpu_backend.cc",
        "native/cpu/direct_conv.cc",
        "native/cpu/direct_conv_pack.cc",
        "native/cpu/int8_weights.cc",
        "native/cpu/isa.cc",
        "native/cpu/kernels_baseline.cc",
        "native/cpu/light_ops.cc",
        "native/cpu/multiply_add_rate.cc",
        "native/cpu/observer.cc",
        "native/cpu/page_arena.cc",
        "native/cpu/peak.cc",
        "native/cpu/peak_baseline.cc",
        "native/cpu/precisions.cc",
        "native/cpu/slices.cc",
        "native/cpu/thread_pool.cc",
        "native/cpu/winograd_conv.cc",
        "native/cpu/x86_features.cc",
        "native/image/resize.cc"
      ],
      "conditions": [
        [
          "target_arch=='x64'",
          {
            "dependencies": [
              "residual-cpu-1",
              "residual-cpu-2",
              "residual-cpu-3",
              "residual-cpu-4",
              "residual-cpu-5",
              "residual-cpu-6",
              "residual-cpu-7",
              "residual-cpu-8",
              "residual-cpu-9",
              "residual-cpu-10",
              "residual-cpu-11",
              "residual-cpu-12",
              "residual-cpu-13"
            ]
          }
        ],
        [
          "target_arch=='arm64'",
          {
            "dependencies": [
              "residual-cpu-1",
              "residual-cpu-2",
              "residual-cpu-3",
              "residual-cpu-4",
              "residual-cpu-5",
              "residual-cpu-6",
              "residual-cpu-7",
              "residual-cpu-8"
            ]
          }
        ]
      ]
    }
  ],
  "conditions": [
    [
      "target_arch=='x64'",
      {
        "targets": [
          {
            "target_name": "residual-cpu-1",
            "type": "static_library",
            "sources": [
              "native/cpu/bf16_gain.cc",
              "native/cpu/peak_avx512bf16.cc"
            ],
            "cflags_cc": [
              "-mavx512f",
              "-mavx512bw",
              "-mavx512dq",
              "-mavx512vl",
              "-mavx2",
              "-mfma",
              "-mprefer-vector-width=512",
              "-mavx512bf16"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-mavx512f",
                "-mavx512bw",
                "-mavx512dq",
                "-mavx512vl",
                "-mavx2",
                "-mfma",
                "-mprefer-vector-width=512",
                "-mavx512bf16"
              ]
            }
          },
          {
            "target_name": "residual-cpu-2",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_amx_bf16.cc",
              "native/cpu/dot_amx_int8.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off",
              "-mavx512f",
              "-mavx512bw",
              "-mavx512dq",
              "-mavx512vl",
              "-mavx2",
              "-mfma",
              "-mprefer-vector-width=512",
              "-mavx512bf16",
              "-mamx-tile",
              "-mamx-int8",
              "-mamx-bf16"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off",
                "-mavx512f",
                "-mavx512bw",
                "-mavx512dq",
                "-mavx512vl",
                "-mavx2",
                "-mfma",
                "-mprefer-vector-width=512",
                "-mavx512bf16",
                "-mamx-tile",
                "-mamx-int8",
                "-mamx-bf16"
              ]
            }
          },
          {
            "target_name": "residual-cpu-3",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_avx2.cc",
              "native/cpu/dot_winograd_avx2.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off",
              "-mavx2",
              "-mfma"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off",
                "-mavx2",
                "-mfma"
              ]
            }
          },
          {
            "target_name": "residual-cpu-4",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_avx512bf16.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off",
              "-mavx512f",
              "-mavx512bw",
              "-mavx512dq",
              "-mavx512vl",
              "-mavx2",
              "-mfma",
              "-mprefer-vector-width=512",
              "-mavx512bf16"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off",
                "-mavx512f",
                "-mavx512bw",
                "-mavx512dq",
                "-mavx512vl",
                "-mavx2",
                "-mfma",
                "-mprefer-vector-width=512",
                "-mavx512bf16"
              ]
            }
          },
          {
            "target_name": "residual-cpu-5",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_avxvnni.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off",
              "-mavx2",
              "-mfma",
              "-mavxvnni"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off",
                "-mavx2",
                "-mfma",
                "-mavxvnni"
              ]
            }
          },
          {
            "target_name": "residual-cpu-6",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_baseline.cc",
              "native/cpu/dot_bfmmla.cc",
              "native/cpu/dot_choice.cc",
              "native/cpu/dot_conv.cc",
              "native/cpu/dot_conv_pack.cc",
              "native/cpu/dot_i8mm.cc",
              "native/cpu/dot_numbers.cc",
              "native/cpu/dot_rows.cc",
              "native/cpu/dot_sdot.cc",
              "native/cpu/dot_winograd.cc",
              "native/cpu/reduced_ops.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off"
              ]
            }
          },
          {
            "target_name": "residual-cpu-7",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_vnni.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off",
              "-mavx512f",
              "-mavx512bw",
              "-mavx512dq",
              "-mavx512vl",
              "-mavx2",
              "-mfma",
              "-mprefer-vector-width=512",
              "-mavx512vnni"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off",
                "-mavx512f",
                "-mavx512bw",
                "-mavx512dq",
                "-mavx512vl",
                "-mavx2",
                "-mfma",
                "-mprefer-vector-width=512",
                "-mavx512vnni"
              ]
            }
          },
          {
            "target_name": "residual-cpu-8",
            "type": "static_library",
            "sources": [
              "native/cpu/kernels_avx2.cc",
              "native/cpu/peak_avx2.cc"
            ],
            "cflags_cc": [
              "-mavx2",
              "-mfma"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-mavx2",
                "-mfma"
              ]
            }
          },
          {
            "target_name": "residual-cpu-9",
            "type": "static_library",
            "sources": [
              "native/cpu/kernels_avx512.cc"
            ],
            "cflags_cc": [
              "-mavx512f",
              "-mavx512bw",
              "-mavx512dq",
              "-mavx512vl",
              "-mavx2",
              "-mfma",
              "-mprefer-vector-width=512"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-mavx512f",
                "-mavx512bw",
                "-mavx512dq",
                "-mavx512vl",
                "-mavx2",
                "-mfma",
                "-mprefer-vector-width=512"
              ]
            }
          },
          {
            "target_name": "residual-cpu-10",
            "type": "static_library",
            "sources": [
              "native/cpu/peak_amx.cc"
            ],
            "cflags_cc": [
              "-mamx-tile",
              "-mamx-int8",
              "-mamx-bf16"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-mamx-tile",
                "-mamx-int8",
                "-mamx-bf16"
              ]
            }
          },
          {
            "target_name": "residual-cpu-11",
            "type": "static_library",
            "sources": [
              "native/cpu/peak_avx512vnni.cc"
            ],
            "cflags_cc": [
              "-mavx512f",
              "-mavx512bw",
              "-mavx512dq",
              "-mavx512vl",
              "-mavx2",
              "-mfma",
              "-mprefer-vector-width=512",
              "-mavx512vnni"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-mavx512f",
                "-mavx512bw",
                "-mavx512dq",
                "-mavx512vl",
                "-mavx2",
                "-mfma",
                "-mprefer-vector-width=512",
                "-mavx512vnni"
              ]
            }
          },
          {
            "target_name": "residual-cpu-12",
            "type": "static_library",
            "sources": [
              "native/cpu/peak_avxvnni.cc"
            ],
            "cflags_cc": [
              "-mavx2",
              "-mfma",
              "-mavxvnni"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-mavx2",
                "-mfma",
                "-mavxvnni"
              ]
            }
          },
          {
            "target_name": "residual-cpu-13",
            "type": "static_library",
            "sources": [
              "native/cpu/peak_bfmmla.cc",
              "native/cpu/peak_i8mm.cc",
              "native/cpu/peak_sdot.cc"
            ],
            "cflags_cc": [],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": []
            }
          }
        ]
      }
    ],
    [
      "target_arch=='arm64'",
      {
        "targets": [
          {
            "target_name": "residual-cpu-1",
            "type": "static_library",
            "sources": [
              "native/cpu/bf16_gain.cc",
              "native/cpu/kernels_avx2.cc",
              "native/cpu/kernels_avx512.cc",
              "native/cpu/peak_amx.cc",
              "native/cpu/peak_avx2.cc",
              "native/cpu/peak_avx512bf16.cc",
              "native/cpu/peak_avx512vnni.cc",
              "native/cpu/peak_avxvnni.cc"
            ],
            "cflags_cc": [],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": []
            }
          },
          {
            "target_name": "residual-cpu-2",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_amx_bf16.cc",
              "native/cpu/dot_amx_int8.cc",
              "native/cpu/dot_avx2.cc",
              "native/cpu/dot_avx512bf16.cc",
              "native/cpu/dot_avxvnni.cc",
              "native/cpu/dot_baseline.cc",
              "native/cpu/dot_choice.cc",
              "native/cpu/dot_conv.cc",
              "native/cpu/dot_conv_pack.cc",
              "native/cpu/dot_numbers.cc",
              "native/cpu/dot_rows.cc",
              "native/cpu/dot_vnni.cc",
              "native/cpu/dot_winograd.cc",
              "native/cpu/dot_winograd_avx2.cc",
              "native/cpu/reduced_ops.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off"
              ]
            }
          },
          {
            "target_name": "residual-cpu-3",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_bfmmla.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off",
              "-march=armv8.2-a+bf16"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off",
                "-march=armv8.2-a+bf16"
              ]
            }
          },
          {
            "target_name": "residual-cpu-4",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_i8mm.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off",
              "-march=armv8.2-a+i8mm"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off",
                "-march=armv8.2-a+i8mm"
              ]
            }
          },
          {
            "target_name": "residual-cpu-5",
            "type": "static_library",
            "sources": [
              "native/cpu/dot_sdot.cc"
            ],
            "cflags_cc": [
              "-ffp-contract=off",
              "-march=armv8.2-a+dotprod"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-ffp-contract=off",
                "-march=armv8.2-a+dotprod"
              ]
            }
          },
          {
            "target_name": "residual-cpu-6",
            "type": "static_library",
            "sources": [
              "native/cpu/peak_bfmmla.cc"
            ],
            "cflags_cc": [
              "-march=armv8.2-a+bf16"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-march=armv8.2-a+bf16"
              ]
            }
          },
          {
            "target_name": "residual-cpu-7",
            "type": "static_library",
            "sources": [
              "native/cpu/peak_i8mm.cc"
            ],
            "cflags_cc": [
              "-march=armv8.2-a+i8mm"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-march=armv8.2-a+i8mm"
              ]
            }
          },
          {
            "target_name": "residual-cpu-8",
            "type": "static_library",
            "sources": [
              "native/cpu/peak_sdot.cc"
            ],
            "cflags_cc": [
              "-march=armv8.2-a+dotprod"
            ],
            "xcode_settings": {
              "OTHER_CPLUSPLUSFLAGS": [
                "-march=armv8.2-a+dotprod"
              ]
            }
          }
        ]
      }
    ]
  ]
}
