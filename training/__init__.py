"""From a folder of images to a bundle whose limit says what it promises. Never imported by the runtime."""
