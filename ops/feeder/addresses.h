// Where pictures come from, as the operator writes it.
#pragma once

#include <string>
#include <string_view>

namespace inferpool::feeder {

enum class AddressKind { kUrl, kDevice, kFolder, kFile };

// "rtsp://..." is a URL, "/dev/video0" a device, and what is a folder on the disk now a folder.
AddressKind KindOf(const std::string& address);

// The address for logs and errors. Of a URL it is the scheme, the host and the path: user and
// password are left out, and so is all that may be one, wherever people put them: what stands
// before the last "@", the query, and parts of the path that have a "=". Pure.
std::string Shown(std::string_view address);

}  // namespace inferpool::feeder
