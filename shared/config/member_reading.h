// Reading members of objects in the configuration: what several keys of cameras' streams share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "shared/base/polygon.h"

namespace Json {
class Value;
}

namespace inferpool {

// True for UTF-8 of at most so many bytes without control characters.
bool IsPlainText(std::string_view text, std::size_t most);

// Each reads a value; false: it is not what is allowed.
bool ReadText(const Json::Value& value, std::size_t most, std::string& text);
bool ReadTexts(const Json::Value& value, std::size_t most, std::vector<std::string>& texts);
bool ReadBoolean(const Json::Value& value, bool& is);
bool ReadWhole(const Json::Value& value, int min, int max, int& number);
bool ReadNumber(const Json::Value& value, double min, double max, double& number);

// [[x, y], [x, y], [x, y], ...], 3 to 64 corners between 0 and 1, not all on one line: something
// lies in the polygon.
bool ReadPolygon(const Json::Value& value, Polygon& polygon);
std::string ToJson(const Polygon& polygon);

}  // namespace inferpool
