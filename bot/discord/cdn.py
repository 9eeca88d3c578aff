"""Files from where Discord keeps attachments, and from nowhere else."""

import aiohttp
from yarl import URL

HOSTS = frozenset({("https", "cdn.discordapp.com"), ("https", "media.discordapp.net")})
SECONDS = 30.0  # for one file
CHUNK_BYTES = 2**16


class FetchFailed(Exception):
    """The file did not come, or not as it was announced."""


class Cdn:
    """Discord's file servers."""

    def keeps(self, address: str) -> bool:
        """Whether a file with this address is theirs."""
        url = URL(address)
        return (url.scheme, url.host) in HOSTS

    async def read(self, address: str, most_bytes: int) -> bytes:
        """The file. A redirect is not followed: it could lead anywhere, also into the network that we run in."""
        assert self.keeps(address), address
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(address, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise FetchFailed(f"status {response.status}")
                data = bytearray()
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    data += chunk
                    if len(data) > most_bytes:
                        raise FetchFailed(f"more than {most_bytes} bytes")
                return bytes(data)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise FetchFailed(type(error).__name__) from error
