# Builds residual-cuda.node and the stand-ins with which cuDNN compiles plans where there is no GPU. scripts/build-cuda.mjs
# passes RESIDUAL_NVCC, CUDA_INCLUDE_DIR and CUDNN_INCLUDE_DIR: CMake's own search knows toolkits that were installed, but not
# wheels. Nothing is linked with CUDA or cuDNN: both are found at run time (lib/runtime/cuda/libraries.ts).
enable_language(ASM)
foreach(needed "${RESIDUAL_NVCC}" "${CUDA_INCLUDE_DIR}/cuda_runtime_api.h" "${CUDNN_INCLUDE_DIR}/cudnn_graph.h")
  if(NOT EXISTS "${needed}")
    message(FATAL_ERROR "There is no '${needed}'. Run `npm run build:cuda`.")
  endif()
endforeach()

set(RESIDUAL_SM 75 80 86 89 90 100)
set(RESIDUAL_GENCODE -gencode arch=compute_100,code=compute_100) # PTX, for GPUs to come
foreach(sm IN LISTS RESIDUAL_SM)
  list(APPEND RESIDUAL_GENCODE -gencode arch=compute_${sm},code=sm_${sm})
endforeach()
set(RESIDUAL_FATBIN ${CMAKE_CURRENT_BINARY_DIR}/kernels.fatbin)
file(GLOB RESIDUAL_KERNEL_HEADERS CONFIGURE_DEPENDS native/cuda/kernels/*.h)
add_custom_command(
  OUTPUT ${RESIDUAL_FATBIN}
  COMMAND ${RESIDUAL_NVCC} -std=c++17 -O3 -Werror all-warnings -fatbin ${RESIDUAL_GENCODE}
    -I${CMAKE_SOURCE_DIR}/native -o ${RESIDUAL_FATBIN} ${CMAKE_SOURCE_DIR}/native/cuda/kernels/kernels.cu
  DEPENDS native/cuda/kernels/kernels.cu ${RESIDUAL_KERNEL_HEADERS} ${RESIDUAL_NVCC}
  VERBATIM)
set_source_files_properties(native/cuda/kernels/kernels_fatbin.S PROPERTIES
  OBJECT_DEPENDS ${RESIDUAL_FATBIN}
  COMPILE_OPTIONS "-DRESIDUAL_KERNELS_FATBIN=\"${RESIDUAL_FATBIN}\"")

file(GLOB RESIDUAL_CUDA_SOURCES CONFIGURE_DEPENDS native/cuda/*.cc)
residual_addon(residual-cuda ${RESIDUAL_CUDA_SOURCES} native/cuda/kernels/kernels_fatbin.S)
target_include_directories(residual-cuda SYSTEM PRIVATE ${CUDNN_INCLUDE_DIR} ${CUDA_INCLUDE_DIR})
target_link_libraries(residual-cuda PRIVATE ${CMAKE_DL_LIBS})

# Under the names by which cuDNN looks for the real ones, in a folder no linker searches.
function(residual_standin target source library)
  add_library(${target} SHARED ${source})
  set_target_properties(${target} PROPERTIES PREFIX "" OUTPUT_NAME ${library} SUFFIX ""
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/standin)
  target_link_options(${target} PRIVATE -Wl,-soname,${library})
  target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
endfunction()
residual_standin(standin-cuda native/standin/cuda_driver.cc libcuda.so.1)
residual_standin(standin-cublas-lt native/standin/cublas_lt.cc libcublasLt.so.13)

# The backend on a stand-in for the device: for tests. As an addon, and as a program that tells how the stand-in takes being
# used in a given way.
list(FILTER RESIDUAL_CUDA_SOURCES EXCLUDE REGEX "native/cuda/(device_cuda|cudart|libraries)\\.cc$")
file(GLOB RESIDUAL_TWIN_SOURCES CONFIGURE_DEPENDS native/twin/*.cc)
file(GLOB RESIDUAL_PROBE_SOURCES CONFIGURE_DEPENDS native/twin/probe/*.cc native/core/*.cc)
add_library(twin-objects OBJECT ${RESIDUAL_CUDA_SOURCES} ${RESIDUAL_TWIN_SOURCES})
target_include_directories(twin-objects PRIVATE native)
target_include_directories(twin-objects SYSTEM PRIVATE ${CUDNN_INCLUDE_DIR} ${CUDA_INCLUDE_DIR})
residual_addon(residual-twin $<TARGET_OBJECTS:twin-objects>)
target_link_libraries(residual-twin PRIVATE ${CMAKE_DL_LIBS})
add_executable(residual-twin-probe ${RESIDUAL_PROBE_SOURCES} $<TARGET_OBJECTS:twin-objects>)
target_include_directories(residual-twin-probe PRIVATE native)
target_include_directories(residual-twin-probe SYSTEM PRIVATE ${CUDNN_INCLUDE_DIR} ${CUDA_INCLUDE_DIR})
target_link_libraries(residual-twin-probe PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
set_target_properties(residual-twin-probe PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
foreach(twin residual-twin residual-twin-probe)
  add_dependencies(${twin} standin-cuda standin-cublas-lt) # which it opens
endforeach()
