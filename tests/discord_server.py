"""A Discord of our own on the loopback interface: real sockets, and the faults that a real one has.

python tests/discord_server.py PORT     `longtake bot`, which takes that server for Discord
"""

import asyncio
import contextlib
import itertools
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import discord
import yarl
from aiohttp import WSMsgType, web

from bot.discord import cdn

Json = dict[str, Any]
BOT, APPLICATION, GUILD, CHANNEL, ANN, BOB = 900, 900, 500, 600, 901, 902
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
_count = itertools.count()


@contextmanager
def redirected(port: int) -> Iterator[None]:
    """The library takes the server on this port for Discord. There is no setting for that, on purpose.

    It also waits for shorter than its two seconds for more servers to come: here is one.
    """
    route, gateway, state = discord.http.Route, discord.gateway.DiscordWebSocket, discord.Client._get_state
    before = route.BASE, gateway.DEFAULT_GATEWAY, cdn.HOSTS
    discord.Client._get_state = lambda self, **options: state(self, **options, guild_ready_timeout=0.1)  # type: ignore[method-assign]
    route.BASE = f"http://127.0.0.1:{port}/api/v10"
    gateway.DEFAULT_GATEWAY = yarl.URL(f"http://127.0.0.1:{port}/gateway")
    cdn.HOSTS = frozenset({("http", "127.0.0.1")})
    try:
        yield
    finally:
        route.BASE, gateway.DEFAULT_GATEWAY, cdn.HOSTS = before
        discord.Client._get_state = state  # type: ignore[method-assign]


def snowflake() -> int:
    """A new id, larger than all before it."""
    return (int(time.time() * 1000) - 1420070400000 << 22) + next(_count) % 2**22


def user(number: int) -> Json:
    name = {BOT: "longtake", ANN: "ann", BOB: "bob"}[number]
    return {"id": str(number), "username": name, "discriminator": "0", "avatar": None, "bot": number == BOT}


def member(number: int) -> Json:
    return {"user": user(number), "roles": [], "joined_at": "2026-01-01T00:00:00+00:00", "deaf": False, "mute": False,
            "flags": 0}  # fmt: skip


def channel(number: int) -> Json:
    return {"id": str(number), "type": 0, "name": f"room-{number}", "guild_id": str(GUILD), "position": 0,
            "permission_overwrites": [], "nsfw": False}  # fmt: skip


@dataclass
class Fault:
    """What goes wrong with requests of a method to paths like this one, so many times; a path may name its query."""

    method: str
    path: str
    status: int = 0  # 0: the answer is right, and may be late
    body: Json = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    times: float = 1
    waits: asyncio.Event | None = None  # what has to happen before the answer
    after: bool = False  # what was asked is done first; only the answer is late or fails
    kill: Callable[[], Awaitable[object]] | None = None  # who asked is gone before it is done, or before it is told


@dataclass
class Server:
    """The state of a small Discord: one server, its channels, and direct messages."""

    port: int = 0
    messages: dict[int, dict[int, Json]] = field(default_factory=lambda: {CHANNEL: {}, APPLICATION: {}})
    files: dict[str, bytes] = field(default_factory=dict)  # by their address
    reactors: dict[tuple[int, str], list[int]] = field(default_factory=dict)  # who, by message and emoji
    faults: list[Fault] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    answers: dict[str, list[Json]] = field(default_factory=dict)  # to interactions, by their token
    log: list[Json] = field(default_factory=list)  # dispatched events of the session
    session: str = ""
    identified: int = 0
    resumed: int = 0
    close_on_identify: int = 0  # a close code
    tier: int = 0
    nonces: bool = True  # a message of the same nonce is sent once; Discord forgets them after minutes
    thinks: bool = False  # the language model: for ever, or it fails at once
    socket: web.WebSocketResponse | None = None

    # ---- what people do ----

    async def say(
        self,
        who: int,
        text: str,
        *,
        where: int = CHANNEL,
        photo: bytes | None = None,
        reply: int = 0,
        send: bool = True,
    ) -> Json:
        """Somebody writes; "@" stands for the bot's name. With `send` off the bot is not told."""
        message = self._message(who, where, text.replace("@", f"<@{BOT}>"), reply)
        if photo:
            message["attachments"] = [self._attachment("photo.png", photo, "image/png")]
        message["mentions"] = [user(BOT)] if "@" in text or reply else []
        if send:
            await self.dispatch("MESSAGE_CREATE", message)
        return message

    async def press(self, who: int, message: Json, act: str) -> str:
        """Somebody presses a button; the interaction's token."""
        custom = next(name for name in custom_ids(message["components"]) if f":{act}:" in name)
        number, token = snowflake(), f"aW50ZXJhY3Rpb246{snowflake()}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        await self.dispatch("INTERACTION_CREATE", {
            "id": str(number), "application_id": str(APPLICATION), "type": 3, "token": token, "version": 1,
            "guild_id": str(GUILD), "channel_id": message["channel_id"], "channel": channel(int(message["channel_id"])),
            "member": {**member(who), "permissions": "0"}, "message": message, "locale": "en-US", "entitlements": [],
            "data": {"component_type": 2, "custom_id": custom}, "attachment_size_limit": 10 * 2**20,
            "authorizing_integration_owners": {}, "app_permissions": "0",
        })  # fmt: skip
        return token

    async def react(self, who: int, message: Json, emoji: str) -> None:
        """Somebody reacts; the bot is told if it listens."""
        self._react(message, emoji, who)
        await self.dispatch("MESSAGE_REACTION_ADD", {
            "user_id": str(who), "channel_id": message["channel_id"], "message_id": message["id"],
            "guild_id": str(GUILD), "emoji": {"id": None, "name": emoji}, "member": member(who), "type": 0,
            "burst": False,
        })  # fmt: skip

    def _react(self, message: Json, emoji: str, who: int) -> None:
        people = self.reactors.setdefault((int(message["id"]), emoji), [])
        people += [] if who in people else [who]
        kinds = [kind for number, kind in self.reactors if number == int(message["id"])]
        message["reactions"] = [
            {"emoji": {"id": None, "name": kind}, "count": len(self.reactors[int(message["id"]), kind]),
             "me": BOT in self.reactors[int(message["id"]), kind]} for kind in kinds
        ]  # fmt: skip

    # ---- what can be seen ----

    def ours(self, where: int = CHANNEL) -> list[Json]:
        """The bot's messages, oldest first."""
        return [message for message in self.messages.get(where, {}).values() if message["author"]["id"] == str(BOT)]

    def cards(self, act: str = "") -> list[Json]:
        """Cards that show a button, or all."""
        return [m for m in self.ours() if m["flags"] & 1 << 15 and f":{act}" in json.dumps(m["components"])]

    def films(self, where: int = CHANNEL) -> list[Json]:
        """Messages with a video."""
        return [m for m in self.ours(where) if any(a["filename"].endswith(".mp4") for a in m["attachments"])]

    def answers_to(self, message: Json) -> list[Json]:
        """The bot's messages that answer one."""
        ours = self.ours(int(message["channel_id"]))
        return [m for m in ours if (m.get("message_reference") or {}).get("message_id") == message["id"]]

    def file(self, message: Json) -> bytes:
        """The bytes of a message's attachment."""
        return self.files[message["attachments"][0]["url"]]

    # ---- the gateway ----

    async def dispatch(self, name: str, data: Json) -> None:
        """An event of the session; kept for a resume, and sent if somebody listens."""
        self.log.append({"op": 0, "s": len(self.log) + 1, "t": name, "d": data})
        await self.send(self.log[-1])

    async def send(self, payload: Json) -> None:
        """Send something as it is."""
        if self.socket and not self.socket.closed:
            with contextlib.suppress(ConnectionError):
                await self.socket.send_str(json.dumps(payload))

    async def drop(self, *, forget: bool = False) -> None:
        """Cut the connection; with `forget` the session cannot be resumed."""
        self.session = "" if forget else self.session
        if self.socket:
            socket, self.socket = self.socket, None
            await socket.close(code=4000)

    async def gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await socket.send_str(json.dumps({"op": 10, "d": {"heartbeat_interval": 20000}}))
        async for frame in socket:
            if frame.type is not WSMsgType.TEXT:
                break
            told = json.loads(frame.data)
            match told["op"]:
                case 1:
                    await socket.send_str(json.dumps({"op": 11}))
                case 2 if self.close_on_identify:
                    await socket.close(code=self.close_on_identify)
                case 2:
                    self.socket, self.identified = socket, self.identified + 1
                    await self._begin()
                case 6 if told["d"]["session_id"] == self.session:
                    self.socket, self.resumed = socket, self.resumed + 1
                    for event in self.log[told["d"]["seq"] :]:
                        await self.send(event)
                    await self.dispatch("RESUMED", {})
                case 6:
                    await socket.send_str(json.dumps({"op": 9, "d": False}))
        return socket

    async def _begin(self) -> None:
        self.session, self.log = f"session-{snowflake()}", []
        await self.dispatch("READY", {
            "v": 10, "user": user(BOT), "guilds": [{"id": str(GUILD), "unavailable": True}], "session_id": self.session,
            "resume_gateway_url": f"http://127.0.0.1:{self.port}/gateway",
            "application": {"id": str(APPLICATION), "flags": 0},
        })  # fmt: skip
        everyone = {"id": str(GUILD), "name": "@everyone", "permissions": str(2**50 - 1), "position": 0, "color": 0,
                    "hoist": False, "managed": False, "mentionable": False, "flags": 0}  # fmt: skip
        rooms = [channel(n) | {"last_message_id": str(max(room, default=0))}
                 for n, room in self.messages.items() if n < 10000]  # fmt: skip
        await self.dispatch("GUILD_CREATE", {
            "id": str(GUILD), "name": "studio", "owner_id": str(ANN), "roles": [everyone], "emojis": [], "stickers": [],
            "features": [], "members": [member(BOT)], "channels": rooms, "threads": [], "stage_instances": [],
            "guild_scheduled_events": [], "member_count": 3, "premium_tier": self.tier, "preferred_locale": "en-US",
            "verification_level": 0, "default_message_notifications": 0, "explicit_content_filter": 0, "mfa_level": 0,
            "nsfw_level": 0, "system_channel_flags": 0, "voice_states": [], "presences": [], "soundboard_sounds": [],
        })  # fmt: skip

    # ---- requests ----

    @web.middleware
    async def faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Note the call; go wrong if that is wanted."""
        path = request.path.removeprefix("/api/v10")
        self.calls.append((request.method, path))
        asked = (path, f"{path}?{request.query_string}")
        alike = [f for f in self.faults if f.method == request.method and any(re.search(f.path, a) for a in asked)]
        fault = next(iter(alike), None)
        if fault is None:
            return await handler(request)
        fault.times -= 1
        if fault.times <= 0:
            self.faults.remove(fault)
        answer = await handler(request) if fault.after else None
        if fault.kill:
            await fault.kill()
            return web.Response(status=500)
        if fault.waits:
            await fault.waits.wait()
        if fault.status:
            return said(fault.body, fault.status, fault.headers)
        return answer or await handler(request)

    async def rest(self, request: web.Request) -> web.Response:
        """Everything that the bot asks for."""
        body, files = await self._body(request)
        path = request.path.removeprefix("/api/v10/")
        match request.method, path.split("/"):
            case "GET", ["users", "@me"]:
                known = request.headers["Authorization"] == f"Bot {TOKEN}"
                return said(user(BOT)) if known else said({"message": "401: Unauthorized", "code": 0}, 401)
            case "GET", ["users", number]:
                return said(user(int(number)))
            case "GET", ["guilds", _, "members", number]:
                return said(member(int(number)))
            case "GET", ["oauth2", *_]:
                return said({"id": str(APPLICATION), "name": "Longtake", "icon": None, "description": "", "flags": 0,
                             "bot_public": True, "bot_require_code_grant": False, "verify_key": "", "team": None,
                             "owner": user(ANN)})  # fmt: skip
            case "PUT", [*_, "commands"]:
                return said([{**c, "id": str(snowflake()), "application_id": str(APPLICATION), "version": "1",
                              "description": c.get("description", ""), "default_member_permissions": None}
                             for c in body])  # type: ignore[union-attr]  # fmt: skip
            case "POST", ["users", "@me", "channels"]:
                number = 10000 + int(body["recipient_id"])
                self.messages.setdefault(number, {})
                return said({"id": str(number), "type": 1, "recipients": [user(number - 10000)]})
            case _, ["channels", number, *rest]:
                return self._channel(request, int(number), rest, body, files)
            case "POST", ["interactions", number, token, "callback"]:
                if token in self.answers:
                    return said({"code": 40060, "message": "Interaction has already been acknowledged."}, 400)
                self.answers[token] = [body]
                told = {"id": number, "type": 3, "response_message_id": str(snowflake())}
                return said({"interaction": told, "resource": {"type": body["type"]}})
            case "POST", ["webhooks", _, token]:
                self.answers[token].append(body)
                return said(self._message(BOT, APPLICATION, body.get("content") or "", 0))
        raise AssertionError(f"{request.method} {path} is not known here")

    def _channel(
        self, request: web.Request, number: int, rest: list[str], body: Json, files: list[Any]
    ) -> web.Response:
        room = self.messages.get(number)
        if room is None:
            return said({"code": 10003, "message": "Unknown Channel"}, 404)
        if rest[:1] != ["messages"]:
            return said(channel(number)) if not rest else web.Response(status=204)
        if len(rest) == 1 and request.method == "GET":
            newest = sorted(room.values(), key=lambda m: -int(m["id"]))
            before, limit = int(request.query.get("before", 2**63)), int(request.query.get("limit", 50))
            if after := int(request.query.get("after", 0)):
                return said([m for m in newest if int(m["id"]) > after][-limit:])
            return said([m for m in newest if int(m["id"]) < before][:limit])
        if len(rest) == 1:
            same = [m for m in room.values() if self.nonces and m.get("nonce", "") == body.get("nonce")]
            message = same[0] if same else self._posted(number, body)
        else:
            message = room.get(int(rest[1]))  # type: ignore[assignment]
            if message is None:
                return said({"code": 10008, "message": "Unknown Message"}, 404)
        if rest[2:3] == ["reactions"]:
            if request.method == "GET":
                return said([user(who) for who in self.reactors[int(rest[1]), rest[3]]])
            self._react(message, rest[3], BOT)
        if len(rest) > 2 or request.method == "DELETE":
            if len(rest) == 2:
                del room[int(rest[1])]
            return web.Response(status=204)
        message.update({name: body[name] for name in ("content", "components") if body.get(name) is not None})
        if files:
            message["attachments"] = [self._attachment(*file) for file in files]
        return said(message)

    def _posted(self, number: int, body: Json) -> Json:
        reference = (body.get("message_reference") or {}).get("message_id", 0)
        message = self._message(BOT, number, body.get("content") or "", int(reference))
        message |= {"flags": body.get("flags") or 0, "nonce": body.get("nonce"), "said": body.get("allowed_mentions")}
        return message

    async def _body(self, request: web.Request) -> tuple[Any, list[tuple[str, bytes, str]]]:
        if not request.content_type.startswith("multipart"):
            return (await request.json() if request.can_read_body else {}), []
        body, files = {}, []
        async for part in await request.multipart():
            if part.name == "payload_json":  # type: ignore[union-attr]
                body = json.loads(await part.text())  # type: ignore[union-attr]
            else:
                name = str(part.filename)  # type: ignore[union-attr]
                kind = {"mp4": "video/mp4"}.get(name.rpartition(".")[2], "image/jpeg")
                files.append((name, bytes(await part.read()), kind))  # type: ignore[union-attr]
        return body, files

    async def cdn(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[f"http://127.0.0.1:{self.port}{request.path}"])

    async def model(self, _: web.Request) -> web.Response:
        """A language model server that is of no use."""
        while self.thinks:
            await asyncio.sleep(0.05)
        return web.Response(status=500)

    def _message(self, who: int, where: int, text: str, reply: int) -> Json:
        message: Json = {
            "id": str(snowflake()), "channel_id": str(where), "author": user(who), "content": text, "type": 0,
            "timestamp": "2026-01-01T00:00:00+00:00", "edited_timestamp": None, "tts": False, "mention_everyone": False,
            "mentions": [], "mention_roles": [], "attachments": [], "embeds": [], "pinned": False, "components": [],
            "flags": 0,
        }  # fmt: skip
        if where < 10000:
            message |= {"guild_id": str(GUILD), "member": {k: v for k, v in member(who).items() if k != "user"}}
        room = self.messages[where]
        if reply:
            message["message_reference"] = {"message_id": str(reply), "channel_id": str(where)}
            message["referenced_message"] = room.get(reply)
            message["type"] = 19
        room[int(message["id"])] = message
        return message

    def _attachment(self, name: str, data: bytes, kind: str) -> Json:
        number = snowflake()
        url = f"http://127.0.0.1:{self.port}/attachments/{number}/{name}"
        self.files[url] = data
        return {
            "id": str(number),
            "filename": name,
            "size": len(data),
            "url": url,
            "proxy_url": url,
            "content_type": kind,
        }


def custom_ids(components: list[Json]) -> Iterator[str]:
    """Of all buttons inside components."""
    for component in components:
        if "custom_id" in component:
            yield component["custom_id"]
        yield from custom_ids(component.get("components", []))


def said(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """NOTE: the library reads JSON only if the content type says nothing more, and without a word on the rate it sends
    one request after the other."""
    plenty = {"Limit": "9", "Remaining": "8", "Reset-After": "1.0", "Reset": str(time.time() + 1)}
    rate = {f"X-Ratelimit-{name}": value for name, value in plenty.items()}
    kind = {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=kind | rate | (headers or {}))


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """A server that listens."""
    server = Server()
    app = web.Application(client_max_size=2**30, middlewares=[server.faulty])
    app.router.add_get("/gateway", server.gateway)
    app.router.add_get("/attachments/{path:.*}", server.cdn)
    app.router.add_post("/v1/chat/completions", server.model)
    app.router.add_route("*", "/api/v10/{path:.*}", server.rest)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await server.drop()
        await runner.cleanup()


if __name__ == "__main__":
    from bot.cli import main

    with redirected(int(sys.argv[1])):
        sys.exit(main(["bot", *sys.argv[2:]]))
