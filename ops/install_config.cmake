# Run by `cmake --install`, after install.cmake: what names paths, which depend on the prefix.
set(prefix ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/+$" "" prefix "${prefix}")
if(NOT IS_ABSOLUTE ${bindir})
  set(bindir ${prefix}/${bindir})
endif()
if(NOT IS_ABSOLUTE ${datadir})
  set(datadir ${prefix}/${datadir})
endif()
# What belongs to /usr is configured in /etc.
if(prefix STREQUAL /usr AND sysconfdir STREQUAL etc)
  set(sysconfdir /etc)
elseif(NOT IS_ABSOLUTE ${sysconfdir})
  set(sysconfdir ${prefix}/${sysconfdir})
endif()
set(config_folder ${sysconfdir}/inferpool)
set(made ${build}/installed)
file(MAKE_DIRECTORY ${made})

# edited(FILE TEXT PLACE...): FILE of ops/ with PLACE for each TEXT, all of which must be in it.
function(edited file)
  file(READ ${source}/ops/${file} content)
  while(ARGN)
    list(POP_FRONT ARGN text place)
    string(FIND "${content}" "${text}" found)
    if(found EQUAL -1)
      message(FATAL_ERROR "ops/${file} does not have ${text}")
    endif()
    string(REPLACE "${text}" "${place}" content "${content}")
  endwhile()
  cmake_path(GET file FILENAME name)
  file(WRITE ${made}/${name} "${content}")
endfunction()

file(RELATIVE_PATH models ${config_folder} ${datadir}/inferpool/models)
edited(inferpool.json
  "but for `state` and `modelserver.repository`,\n// which are relative to this file."
  "but for `state`, `listen.socket` and\n// `modelserver.repository`. Paths are relative to this file."
  "\"state\": \"../run\"" "\"state\": \"/var/lib/inferpool\""
  "\"socket\": \"\"" "\"socket\": \"/run/inferpool/inferpool.sock\""
  "\"repository\": \"models\"" "\"repository\": \"${models}\"")
edited(systemd/inferpool.service
  "/usr/bin/inferpool" "${bindir}/inferpool"
  "/etc/inferpool" "${config_folder}"
  "/usr/share/doc" "${datadir}/doc")

# What an operator has written stays.
set(config ${config_folder}/inferpool.json)
if(EXISTS $ENV{DESTDIR}${config})
  file(INSTALL ${made}/inferpool.json DESTINATION ${config_folder} RENAME inferpool.json.new)
else()
  file(INSTALL ${made}/inferpool.json DESTINATION ${config_folder})
endif()
file(INSTALL ${made}/inferpool.service ${source}/ops/systemd/inferpool.socket
  DESTINATION ${prefix}/lib/systemd/system)
file(INSTALL ${source}/ops/systemd/inferpool.sysusers.conf
  DESTINATION ${prefix}/lib/sysusers.d RENAME inferpool.conf)
