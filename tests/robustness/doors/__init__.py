"""The doors of the pipeline, in the order of the page."""

from . import command_line, configuration, data, images, labelled, numbers, results, surroundings, weights

DOORS = [
    door
    for module in (data, images, labelled, weights, results, configuration, command_line, surroundings, numbers)
    for door in module.DOORS
]
