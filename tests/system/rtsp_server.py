#!/usr/bin/env python3
"""A camera on the network: rtsp_server.py PORT [USER PASSWORD]

Serves coloured bars at /h264 and /jpeg, 320 x 240, 25 pictures a second, and says "ready" when it does."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

BARS = ("videotestsrc is-live=true pattern=smpte100 ! "
        "video/x-raw,format=I420,width=320,height=240,framerate=25/1,colorimetry=bt601 ! ")
# GStreamer writes the values of a video, 16 to 235, into JPEGs as they are.
STREAMS = {"/h264": BARS + "x264enc tune=zerolatency key-int-max=10 ! rtph264pay name=pay0",
           "/jpeg": BARS + "jpegenc ! rtpjpegpay name=pay0"}


def main(port, user=None, password=None):
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
    for path, pipeline in STREAMS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {pipeline} )")
        factory.set_shared(True)
        if user:
            factory.add_role_from_structure(Gst.Structure.from_string(
                "user,media.factory.access=true,media.factory.construct=true")[0])
        server.get_mount_points().add_factory(path, factory)
    if not server.attach(None):
        sys.exit("the port is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
