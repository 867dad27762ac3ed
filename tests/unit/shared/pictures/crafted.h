// Pictures to order, and byte surgery on them.
#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdio>
#include <functional>
#include <opencv2/core/mat.hpp>
#include <string>
#include <string_view>
#include <vector>

// jpeglib.h needs <cstdio> in front of it.
#include <jpeglib.h>

namespace inferpool::vision {

// CV_8UC3 of which no two rows and no two columns are alike, so that a lost one shows.
cv::Mat Scene(cv::Size size);

// The picture of a file's bytes, header and all.
absl::StatusOr<cv::Mat> Decoded(const std::string& bytes);

std::string Inserted(std::string bytes, std::size_t at, std::string_view extra);

// A JPEG of `pixels` (BGR) by libjpeg; `configure` may change its parameters before it starts.
std::string EncodedJpeg(const cv::Mat& pixels,
                        const std::function<void(jpeg_compress_struct&)>& configure = {});

// A part of a JPEG: a segment from its marker on, or a marker that stands alone. Of a scan it is
// the header, and `end` is where its data begins.
struct Segment {
  unsigned marker;
  std::size_t begin;
  std::size_t end;
};
std::vector<Segment> Segments(std::string_view jpeg);

// The nth segment with this marker; throws if there is none.
Segment Find(std::string_view jpeg, unsigned marker, std::size_t nth = 0);

// Without the segments of these markers, `first` to `last`.
std::string Without(std::string jpeg, unsigned first, unsigned last);

// A place in the data of the first scan, at so much of it, that is no part of a marker.
std::size_t WithinScan(std::string_view jpeg, double part);

std::string PngChunk(const std::string& type, const std::string& data);

// A PNG of `pixels` (BGR) whose compressed data went through `change`.
std::string EncodedPng(const cv::Mat& pixels,
                       const std::function<std::string(std::string)>& change = {});

// A GIF of one frame of the scene's green channel, with all codes of nine bits.
std::string EncodedGif(cv::Size size);

}  // namespace inferpool::vision
