# What `cmake --install` puts where. The installed tree needs neither the source nor the build, and may
# be moved as a whole: the program finds the rest from where it lies (own_files.h), and its configuration
# the sample models from where that lies.

set(swagger_ui ${PROJECT_SOURCE_DIR}/build/swagger-ui/node_modules/swagger-ui-dist)

# A build has the same tree, in links.
set(data ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${INFERPOOL_DATA})
file(MAKE_DIRECTORY ${data})
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/nginx/pages ${data}/pages SYMBOLIC)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/ops/models ${data}/models SYMBOLIC)
file(CREATE_LINK ${swagger_ui} ${data}/swagger-ui SYMBOLIC)
# The model server finds it beside itself.
set(onnxruntime ${PROJECT_SOURCE_DIR}/build/onnxruntime)
file(CREATE_LINK ${onnxruntime} ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/onnxruntime SYMBOLIC)

install(TARGETS inferpool inferpool-feed RUNTIME)
install(TARGETS modelserver RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/inferpool)
install(DIRECTORY nginx/pages ops/models ops/pictures
  DESTINATION ${CMAKE_INSTALL_DATADIR}/inferpool
  PATTERN ".gitignore" EXCLUDE)
# If ops/run or ops/test has fetched it by then; without it /docs says so.
install(DIRECTORY ${swagger_ui}/ DESTINATION ${CMAKE_INSTALL_DATADIR}/inferpool/swagger-ui OPTIONAL
  FILES_MATCHING PATTERN "*.css" PATTERN "*.js" PATTERN "*.png" PATTERN "LICENSE" PATTERN "NOTICE")
# The same; without it ONNX models do not load.
install(DIRECTORY ${onnxruntime}/ DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/inferpool/onnxruntime OPTIONAL
  FILES_MATCHING PATTERN "libonnxruntime.so.1" PATTERN "LICENSE")
# For producers of frames in shared memory.
install(FILES shared/frames/inferpool_frames.h TYPE INCLUDE)
install(PROGRAMS shared/frames/inferpool_frames.py
  DESTINATION ${CMAKE_INSTALL_DATADIR}/inferpool/examples)
install(FILES README.md CHANGELOG.md LICENSE TYPE DOC)
install(DIRECTORY docs TYPE DOC)
install(CODE "
  set(source \"${PROJECT_SOURCE_DIR}\")
  set(build \"${PROJECT_BINARY_DIR}\")
  set(bindir \"${CMAKE_INSTALL_BINDIR}\")
  set(datadir \"${CMAKE_INSTALL_DATADIR}\")
  set(sysconfdir \"${CMAKE_INSTALL_SYSCONFDIR}\")")
install(SCRIPT ops/install_config.cmake)
