// The pictures in a request's body, in every form in which they may come: a form, the picture
// itself, or JSON with base64.
//
// Pictures are never fetched from addresses that a client names: whoever can have a server ask for
// any URL can reach what only that server may reach (server-side request forgery, CWE-918).
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fcgi/wire/request.h"
#include "worker/http/problem.h"

namespace inferpool::http {

// What the client has sent as a picture: at least a byte of anything, or what is wrong with it.
using PictureInput = std::variant<std::string_view, Problem>;

struct PictureInputs {
  std::vector<PictureInput> pictures;
  std::deque<std::string> decoded;  // what the views of base64 pictures show; others show the body
};

// The one picture of a request. The view holds as long as the request and `inputs` do. Problems:
// that of the body (Request::body_status); 400, 413 and 415 of the form that it has.
PictureInput ReadPicture(const fcgi::Request& request, PictureInputs& inputs);

// The pictures of a batch: 1 to `max_images`, in the request's order. A problem with one of them
// alone stands in its place.
std::variant<PictureInputs, Problem> ReadPictures(const fcgi::Request& request, int max_images);

}  // namespace inferpool::http
